/**
 * Compiled sessions of planned calls: one for all batch shapes where a call's graph can be left open
 * (`plan/open_graph.ts`), one a shape where it cannot.
 */
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { TRAINING_OPSETS } from "../ops/registry.ts";
import type { PlannedCall } from "../plan/call.ts";
import { constantsFor, type OpenGraph, type SizedGraph } from "../plan/open_graph.ts";
import { callsOf, graphsOf, openGraphsOf } from "../plan/open_plan.ts";
import type { TrainingPlan } from "../plan/plan.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import { TensorCache } from "./tensor_cache.ts";

/** A compiled session as a call runs it. */
export interface CallSession {
  readonly executable: Executable;
  /** What the session is fed beside what the call names. */
  readonly constants: Readonly<Record<string, DeviceTensor>>;
}

/** IR version that the training operator set belongs to. */
const IR_VERSION = 10;

/** Keeps exact products where the optimiser would fuse dequantisation with lower accuracy. */
export const SESSION_CONFIG = {
  "session.qdq_matmulnbits_accuracy_level": "1",
  "session.set_denormal_as_zero": "1",
};

/** Where a call's operators run: on its own thread, or on the threads of the pool that all share. */
export type Threads = "one" | "pool";

/** An open graph at one size. */
interface Instance {
  readonly open: OpenGraph;
  readonly constants: Readonly<Record<string, DeviceTensor>>;
}

export class CallSessions implements Disposable {
  readonly #runner: Runner;
  /** By outline. */
  readonly #open = new Map<string, OpenGraph[]>();
  /** By the key of calls. */
  readonly #instances = new Map<string, Instance>();
  readonly #made: Readonly<Record<Threads, Made>> = { one: new Made(), pool: new Made() };
  readonly #constants = new TensorCache();

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /** Compiled sessions held now. */
  get count(): number {
    return this.#made.one.compiled.size + this.#made.pool.compiled.size;
  }

  /**
   * Looks up, or makes, the open graphs of a plan's calls.
   *
   * @param neighbours plans of shapes beside the plan's; as many are taken as open graphs need
   * @returns whether there is an open graph for each
   */
  admit(plan: TrainingPlan, neighbours: Iterable<TrainingPlan>): boolean {
    if (callsOf(plan).every(({ key }) => this.#instances.has(key))) return true;
    const graphs = graphsOf(plan);
    const missing = new Map([...graphs].filter(([key, graph]) => !this.#serve(key, graph)));
    if (missing.size === 0) return true;
    for (const neighbour of neighbours) {
      for (const [key, open] of openGraphsOf(graphs, graphsOf(neighbour))) {
        const graph = missing.get(key);
        if (graph === undefined) continue;
        const alike = this.#open.get(graph.outline) ?? [];
        this.#open.set(graph.outline, [...alike, open]);
        this.#serve(key, graph);
        missing.delete(key);
      }
      if (missing.size === 0) return true;
    }
    return false;
  }

  /** The session of a call of an admitted plan. */
  of(call: PlannedCall, threads: Threads = "pool"): Promise<CallSession> {
    const { sessions } = this.#made[threads];
    let session = sessions.get(call.key);
    if (session === undefined) {
      const instance = this.#instances.get(call.key);
      const compiled = this.#compiledOnce(call, instance?.open, threads);
      const constants = instance?.constants ?? {};
      session = compiled.then((executable) => ({ executable, constants }));
      sessions.set(call.key, session);
    }
    return session;
  }

  /** Compiles a call for its shape alone; the session is the caller's. */
  compile(
    { label, graph }: Pick<PlannedCall, "label" | "graph">,
    threads: Threads = "pool",
  ): Promise<Executable> {
    const model: Model = {
      irVersion: IR_VERSION,
      opsets: TRAINING_OPSETS,
      graph,
      metadata: {},
    };
    return this.#runner.compile(model, {
      label,
      config: SESSION_CONFIG,
      singleThread: threads === "one",
      // A plan of all of a session's memory keeps it between runs; here every session runs in turn,
      // and the shared arena's free blocks serve the next.
      memoryPattern: false,
    });
  }

  /** Frees what only other calls need than those of these keys. */
  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#instances.keys()) if (!keys.has(key)) this.#instances.delete(key);
    const instances = [...this.#instances.values()];
    this.#constants.retain(new Set(instances.flatMap(({ constants }) => Object.values(constants))));
    const used = new Set<OpenGraph | string>(keys);
    for (const { open } of instances) used.add(open);
    for (const made of Object.values(this.#made)) made.retain(keys, used);
  }

  [Symbol.dispose](): void {
    this.retain(new Set());
  }

  #serve(key: string, graph: SizedGraph): boolean {
    if (this.#instances.has(key)) return true;
    for (const open of this.#open.get(graph.outline) ?? []) {
      const constants = constantsFor(open, graph);
      if (constants === undefined) continue;
      this.#instances.set(key, { open, constants: this.#upload(constants) });
      return true;
    }
    return false;
  }

  #upload(constants: ReadonlyMap<string, Tensor>): Record<string, DeviceTensor> {
    return Object.fromEntries(
      [...constants].map(([name, value]) => [
        name,
        this.#constants.get(value, () => this.#runner.wrap(value)),
      ]),
    );
  }

  #compiledOnce(
    call: PlannedCall,
    open: OpenGraph | undefined,
    threads: Threads,
  ): Promise<Executable> {
    const of = open ?? call.key;
    const { compiled } = this.#made[threads];
    let executable = compiled.get(of);
    if (executable === undefined) {
      const graph = open?.graph ?? call.graph;
      executable = this.compile({ label: call.label, graph }, threads);
      compiled.set(of, executable);
    }
    return executable;
  }
}

/** What is compiled for one way of using threads. */
class Made {
  /** By the key of calls. */
  readonly sessions = new Map<string, Promise<CallSession>>();
  /** By open graph, or by the key of a call that no open graph serves. */
  readonly compiled = new Map<OpenGraph | string, Promise<Executable>>();

  retain(keys: ReadonlySet<string>, used: ReadonlySet<OpenGraph | string>): void {
    for (const key of this.sessions.keys()) if (!keys.has(key)) this.sessions.delete(key);
    for (const [of, compiled] of this.compiled) {
      if (used.has(of)) continue;
      this.compiled.delete(of);
      // One that failed to compile has told so to whoever asked for it.
      compiled.then((executable) => executable[Symbol.dispose](), () => {});
    }
  }
}
