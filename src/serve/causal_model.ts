/**
 * A language model that continues its text: keys and values of earlier tokens stay in the runtime. A
 * model exported without a cache reads its whole text again for every token.
 */
import type { Graph, Model } from "../graph/types.ts";
import { BadInputError, RuntimeFailure } from "../errors.ts";
import { isBefore } from "../runtime/release_limits.ts";
import type { Executable, Runner } from "../runtime/runner.ts";
import { AppendingReader } from "./appending_reader.ts";
import { pairCaches } from "./cache_pairs.ts";
import { InPlaceReader } from "./in_place_reader.ts";
import { withChosenLogits } from "./last_logits.ts";
import { withLengthInputs } from "./length_inputs.ts";
import type { Reader, ReaderParts } from "./reader.ts";
import { RecordedReader } from "./recorded_reader.ts";

/** Tokens of a prompt that are read at once; activations grow with their number. */
const PROMPT_CHUNK = 512;

/** First release whose GroupQueryAttention accepts several tokens after a past. */
const SEVERAL_AFTER_PAST_SINCE = [1, 20, 0] as const;

/** Whether a prompt that follows other tokens must be read token by token. */
export function readsPromptByToken({ version }: Runner): boolean {
  return isBefore(version, SEVERAL_AFTER_PAST_SINCE);
}

export class CausalModel implements Disposable {
  readonly #runner: Runner;
  readonly #reader: Reader;
  readonly #hasCache: boolean;
  #tokens: number[] = [];
  /** The compiled graph, if this object owns it. */
  #owned: Disposable | undefined;

  /**
   * Compiles a model for generation; a note reports runs that should be recorded and cannot be.
   *
   * @param label its name in errors
   * @throws {BadInputError} as the constructor
   */
  static async open(runner: Runner, model: Model, label: string): Promise<CausalModel> {
    const chosen = withChosenLogits(model);
    if (runner.records) {
      try {
        return await CausalModel.#openRecorded(runner, chosen, label);
      } catch (error) {
        if (!(error instanceof RuntimeFailure)) throw error;
        runner.note(`Runs are not recorded: ${error.message}`);
      }
    }
    const executable = await runner.compile(chosen, { label });
    return CausalModel.#owning(
      executable,
      () => new CausalModel(runner, executable, chosen.graph),
    );
  }

  /**
   * @param executable the compiled graph, preferably from `withChosenLogits`; the caller owns it
   * @param graph the same graph, for its inputs and outputs
   * @param read creates the reader; default: one that keeps the caches in place if possible
   * @throws {BadInputError} if the model has no logits or a cache that graft cannot pair
   */
  constructor(
    runner: Runner,
    executable: Executable,
    graph: Graph,
    read: (parts: ReaderParts) => Reader = readAsEver,
  ) {
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
    this.#reader = read(parts);
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
   * Reads a whole text, continuing from the tokens already read if the text begins with them.
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
      // The contents of the caches may be inconsistent now.
      this.reset();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.reset();
    this.#reader[Symbol.dispose]();
    this.#owned?.[Symbol.dispose]();
  }

  /** @throws {RuntimeFailure} if the provider cannot record the model's runs */
  static async #openRecorded(
    runner: Runner,
    chosen: Model,
    label: string,
  ): Promise<CausalModel> {
    const rewritten = withLengthInputs(chosen);
    if (rewritten === undefined) throw new RuntimeFailure(NOT_RECORDABLE);
    const { model, longest } = rewritten;
    const executable = await runner.compile(model, { label, recorded: true });
    return CausalModel.#owning(
      executable,
      () =>
        new CausalModel(runner, executable, model.graph, (parts) => {
          if (!InPlaceReader.fits(parts)) throw new RuntimeFailure(NOT_RECORDABLE);
          return new RecordedReader(parts, longest);
        }),
    );
  }

  static #owning(executable: Executable, make: () => CausalModel): CausalModel {
    using resources = new DisposableStack();
    resources.use(executable);
    const model = make();
    model.#owned = resources.move();
    return model;
  }

  /** Tokens the model can read in one run now. */
  #chunkSize(): number {
    return readsPromptByToken(this.#runner) && this.#tokens.length > 0 ? 1 : PROMPT_CHUNK;
  }
}

const NOT_RECORDABLE = "the model's attention uses more than lengths, or its caches grow: " +
  "only GroupQueryAttention over float caches can be recorded";

function readAsEver(parts: ReaderParts): Reader {
  return InPlaceReader.fits(parts) ? new InPlaceReader(parts) : new AppendingReader(parts);
}
