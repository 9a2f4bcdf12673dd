/** How a language model's graph is run over tokens; where their keys and values stay between runs. */
import type { Graph } from "../graph/types.ts";
import type { Executable, Runner } from "../runtime/runner.ts";
import type { CachePair } from "./cache_pairs.ts";

/** Runs over tokens that follow others. */
export interface Reader extends Disposable {
  /**
   * @param fresh tokens to read, at least one
   * @param start how many tokens were read before; keys and values of these are used
   * @returns logits after the last token, [vocabulary], valid until the next call
   */
  read(fresh: readonly number[], start: number): Promise<Float32Array>;
  /** Forgets what was read. */
  reset(): void;
}

/** What readers are made from. */
export interface ReaderParts {
  readonly runner: Runner;
  /** The graph compiled; stays the caller's. */
  readonly executable: Executable;
  readonly graph: Graph;
  /** Empty for a model without caches. */
  readonly pairs: readonly CachePair[];
}
