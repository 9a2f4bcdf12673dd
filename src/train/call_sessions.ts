/** Compiled sessions of planned calls: one for all batches, since a call's graph leaves their sizes open. */
import type { Model } from "../graph/types.ts";
import { TRAINING_OPSETS } from "../ops/registry.ts";
import type { PlannedCall } from "../plan/call.ts";
import { withNamedSizes } from "../plan/call_graph.ts";
import type { Executable, Runner } from "../runtime/runner.ts";

/** IR version that the training operator set belongs to. */
const IR_VERSION = 10;

/** Keeps products exact where the optimiser would fuse dequantisation with lower accuracy. */
export const SESSION_CONFIG = {
  "session.qdq_matmulnbits_accuracy_level": "1",
  "session.set_denormal_as_zero": "1",
};

/** Where a call's operators run: on its own thread, or on the threads of the shared pool. */
export type Threads = "one" | "pool";

export class CallSessions implements Disposable {
  readonly #runner: Runner;
  /** By the key of calls. */
  readonly #compiled: Readonly<Record<Threads, Map<string, Promise<Executable>>>> = {
    one: new Map(),
    pool: new Map(),
  };

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /** Number of compiled sessions held now. */
  get count(): number {
    return this.#compiled.one.size + this.#compiled.pool.size;
  }

  /** The session of a call. */
  of(call: PlannedCall, threads: Threads = "pool"): Promise<Executable> {
    const compiled = this.#compiled[threads];
    let session = compiled.get(call.key);
    if (session === undefined) compiled.set(call.key, session = this.compile(call, threads));
    return session;
  }

  /** Compiles a call; the caller owns the session. */
  compile(
    { label, graph }: Pick<PlannedCall, "label" | "graph">,
    threads: Threads = "pool",
  ): Promise<Executable> {
    const model: Model = {
      irVersion: IR_VERSION,
      opsets: TRAINING_OPSETS,
      graph: withNamedSizes(graph),
      metadata: {},
    };
    return this.#runner.compile(model, {
      label,
      config: SESSION_CONFIG,
      singleThread: threads === "one",
      // With a memory plan, each session would keep all its memory between runs; here the sessions run in
      // turn, and the shared arena's free blocks serve the next one.
      memoryPattern: false,
    });
  }

  /** Frees what only calls with other keys need. */
  retain(keys: ReadonlySet<string>): void {
    for (const compiled of Object.values(this.#compiled)) {
      for (const [key, session] of compiled) {
        if (keys.has(key)) continue;
        compiled.delete(key);
        // A session that failed to compile has reported that to whoever asked for it.
        session.then((executable) => executable[Symbol.dispose](), () => {});
      }
    }
  }

  [Symbol.dispose](): void {
    this.retain(new Set());
  }
}
