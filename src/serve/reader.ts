/**
 * The interface that runs a language model's graph over tokens and keeps their keys and values between
 * runs.
 */
import type { Graph } from "../graph/types.ts";
import type { Executable, Runner } from "../runtime/runner.ts";
import type { CachePair } from "./cache_pairs.ts";

/** Reads tokens that follow earlier ones. */
export interface Reader extends Disposable {
  /**
   * @param fresh tokens to read, at least one
   * @param start number of tokens read before, whose keys and values are used
   * @returns logits after the last token, [vocabulary], valid until the next call
   */
  read(fresh: readonly number[], start: number): Promise<Float32Array>;
  /** Forgets all tokens. */
  reset(): void;
}

/** Arguments of readers. */
export interface ReaderParts {
  readonly runner: Runner;
  /** The compiled graph; the caller owns it. */
  readonly executable: Executable;
  readonly graph: Graph;
  /** Empty for a model without caches. */
  readonly pairs: readonly CachePair[];
}
