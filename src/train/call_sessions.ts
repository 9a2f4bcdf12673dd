/** Compiled sessions of planned calls: one for all batches, whose sizes a call's graph leaves open. */
import type { Model } from "../graph/types.ts";
import { TRAINING_OPSETS } from "../ops/registry.ts";
import type { PlannedCall } from "../plan/call.ts";
import { withNamedSizes } from "../plan/call_graph.ts";
import type { Executable, Runner } from "../runtime/runner.ts";

/** IR version that the training operator set belongs to. */
const IR_VERSION = 10;

/** Keeps exact products where the optimiser would fuse dequantisation with lower accuracy. */
export const SESSION_CONFIG = {
  "session.qdq_matmulnbits_accuracy_level": "1",
  "session.set_denormal_as_zero": "1",
};

/** Where a call's operators run: on its own thread, or on the threads of the pool that all share. */
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

  /** Compiled sessions held now. */
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

  /** Compiles a call; the session is the caller's. */
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
      // A plan of all of a session's memory keeps it between runs; here every session runs in turn,
      // and the shared arena's free blocks serve the next.
      memoryPattern: false,
    });
  }

  /** Frees what only other calls need than those of these keys. */
  retain(keys: ReadonlySet<string>): void {
    for (const compiled of Object.values(this.#compiled)) {
      for (const [key, session] of compiled) {
        if (keys.has(key)) continue;
        compiled.delete(key);
        // One that failed to compile has told so to whoever asked for it.
        session.then((executable) => executable[Symbol.dispose](), () => {});
      }
    }
  }

  [Symbol.dispose](): void {
    this.retain(new Set());
  }
}
