/**
 * A language model that goes on from where it is: keys and values of earlier tokens stay with the
 * runtime. A model exported without a cache reads its whole text again for every token.
 */
import type { Graph } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { isBefore } from "../runtime/release_limits.ts";
import type { Executable, Runner } from "../runtime/runner.ts";
import { AppendingReader } from "./appending_reader.ts";
import { pairCaches } from "./cache_pairs.ts";
import { InPlaceReader } from "./in_place_reader.ts";
import type { Reader } from "./reader.ts";

/** Tokens of a prompt that are read at once: activations grow with them. */
const PROMPT_CHUNK = 512;

/** Since this release GroupQueryAttention takes several tokens after a past. */
const SEVERAL_AFTER_PAST_SINCE = [1, 20, 0] as const;

export class CausalModel implements Disposable {
  readonly #runner: Runner;
  readonly #reader: Reader;
  readonly #hasCache: boolean;
  #tokens: number[] = [];

  /**
   * @param executable the model's graph, best by `withChosenLogits`; stays the caller's
   * @param graph the same graph, for its inputs and outputs
   * @throws {BadInputError} where the model has no logits or a cache that graft cannot pair
   */
  constructor(runner: Runner, executable: Executable, graph: Graph) {
    this.#runner = runner;
    if (!graph.outputs.some(({ name }) => name === "logits")) {
      throw new BadInputError(
        `Cannot generate: the model has no output "logits": its outputs are ${
          graph.outputs.map(({ name }) => name).join(", ")
        }`,
      );
    }
    const parts = { runner, executable, graph, pairs: pairCaches(graph) };
    this.#hasCache = parts.pairs.length > 0;
    this.#reader = InPlaceReader.fits(parts)
      ? new InPlaceReader(parts)
      : new AppendingReader(parts);
  }

  /** Number of tokens read so far. */
  get length(): number {
    return this.#tokens.length;
  }

  /** Forgets everything read. */
  reset(): void {
    this.#reader.reset();
    this.#tokens = [];
  }

  /**
   * Reads a whole text, going on from what has been read where the text begins with it.
   *
   * @returns logits after the last token, [vocabulary]; the next call overwrites them
   */
  continueTo(ids: readonly number[]): Promise<Float32Array> {
    const known = this.#tokens.length;
    const goesOn = known < ids.length && this.#tokens.every((token, i) => token === ids[i]);
    if (!goesOn) this.reset();
    return this.advance(goesOn ? ids.slice(known) : ids);
  }

  /**
   * Reads more tokens.
   *
   * @returns logits after the last of them, [vocabulary]; the next call overwrites them
   * @throws {RangeError} for no tokens
   */
  async advance(ids: readonly number[]): Promise<Float32Array> {
    if (ids.length === 0) throw new RangeError("There must be a token to read");
    try {
      if (!this.#hasCache) {
        const whole = [...this.#tokens, ...ids];
        const logits = await this.#reader.read(whole, 0);
        this.#tokens = whole;
        return logits;
      }
      let logits: Float32Array = new Float32Array();
      for (let at = 0; at < ids.length;) {
        const chunk = ids.slice(at, at + this.#chunkSize());
        logits = await this.#reader.read(chunk, this.#tokens.length);
        this.#tokens.push(...chunk);
        at += chunk.length;
      }
      return logits;
    } catch (error) {
      // What the cache holds is not known to belong together any more.
      this.reset();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.reset();
    this.#reader[Symbol.dispose]();
  }

  /** Tokens the model can read in one run now. */
  #chunkSize(): number {
    const old = isBefore(this.#runner.version, SEVERAL_AFTER_PAST_SINCE);
    return old && this.#tokens.length > 0 ? 1 : PROMPT_CHUNK;
  }
}
