/** Generates text token by token from a causal model. */
import { Random } from "../random.ts";
import { scoresOf, type TokenScores } from "./log_probabilities.ts";
import { sample, type SamplingOptions, validateSampling } from "./sampler.ts";
import type { TokenReader } from "./token_sessions.ts";

/** How text is generated. */
export interface GenerateOptions extends SamplingOptions {
  /** Tokens to generate at most. */
  readonly maxTokens: number;
  /** Tokens that end the text and are not part of it. */
  readonly endIds: ReadonlySet<number>;
  /** Strings that end the text and are not part of it. */
  readonly stop?: readonly string[];
  /** Seed of the draws; default 0. */
  readonly seed?: number;
  /** Ends generation. */
  readonly signal?: AbortSignal;
  /** Ids from this one on are not chosen: rows of the head without a token in the vocabulary. */
  readonly vocabSize?: number;
  /**
   * Number of the likeliest tokens whose log-probabilities are returned beside those of the generated
   * ones; absent: none are.
   */
  readonly topLogprobs?: number;
  /** What the text must keep to. */
  readonly grammar?: NextTokenGrammar;
  /** Told when the model begins to read the prompt, and when it has read it. */
  readonly onStage?: (stage: GenerationStage) => void;
}

/** What a generation does after it has waited for others. */
export type GenerationStage = "read" | "generate";

/** Says which tokens may come next; see `TokenGrammar` of `data/guarded_grammars.ts`. */
export interface NextTokenGrammar {
  /**
   * The tokens that may come next.
   *
   * @param accepted the token that was chosen since the last call, if there was one
   * @returns a bit for each token id, the lowest first
   */
  next(accepted: number | undefined): Promise<Int32Array>;
}

/** Turns token ids into text piece by piece; holds back incomplete characters. */
export interface StreamingDecoder {
  push(id: number): Promise<string>;
  finish(): Promise<string>;
}

/** Reason for the end: an end token or stop string, the limit of tokens, or the signal. */
export type FinishReason = "stop" | "length" | "abort";

/** Result of a generation. */
export interface Generated {
  /** What was generated, without what ended it. */
  readonly text: string;
  /** Ids of the generated tokens. */
  readonly ids: readonly number[];
  /** Why generation ended. */
  readonly finishReason: FinishReason;
  /** Of each generated token, if asked for. */
  readonly scores?: readonly TokenScores[];
}

/**
 * Gets pieces of a text as they are generated.
 *
 * @param scores of the tokens since the last piece, if asked for
 */
export type OnText = (piece: string, scores: readonly TokenScores[]) => void | Promise<void>;

/**
 * Continues a prompt.
 *
 * @param model reuses the tokens that it has read if the prompt begins with them
 * @param prompt the whole text so far, as token ids
 * @param onText gets every piece of text as soon as no stop string can begin in it
 * @throws {UsageError} for sampling options out of range
 */
export async function generate(
  model: TokenReader,
  prompt: readonly number[],
  decoder: StreamingDecoder,
  options: GenerateOptions,
  onText: OnText = () => {},
): Promise<Generated> {
  validateSampling(options);
  const { topLogprobs, grammar } = options;
  const random = Random.fromSeed(options.seed ?? 0);
  const uniform = () => random.next() / 2 ** 32;
  const stops = new StopStrings(options.stop ?? []);
  const ids: number[] = [];
  const scores: TokenScores[] = [];
  let text = "";
  let told = 0;
  const emit = async (piece: string) => {
    if (piece === "") return;
    text += piece;
    const news = scores.slice(told);
    told = scores.length;
    await onText(piece, news);
  };
  let finishReason: FinishReason = "length";
  let reading: Promise<Float32Array> | undefined;
  let masking = observed(grammar?.next(undefined));
  try {
    while (ids.length < options.maxTokens) {
      if (options.signal?.aborted) {
        finishReason = "abort";
        break;
      }
      reading ??= model.continueTo(prompt);
      const mask = await masking;
      const logits = await reading;
      if (ids.length === 0) options.onStage?.("generate");
      const known = logits.subarray(0, options.vocabSize);
      const scoreOf = topLogprobs === undefined ? undefined : scoresOf(known, topLogprobs);
      if (mask !== undefined) forbid(known, mask);
      const id = sample(known, { prompt, generated: ids }, options, uniform);
      if (options.endIds.has(id)) {
        finishReason = "stop";
        break;
      }
      ids.push(id);
      if (scoreOf !== undefined) scores.push(scoreOf(id));
      // The next token is computed while this one becomes text.
      if (ids.length < options.maxTokens) {
        reading = observed(model.advance([id]));
        masking = observed(grammar?.next(id));
      }
      await emit(stops.push(await decoder.push(id)));
      if (stops.found) break;
    }
  } catch (error) {
    if (!options.signal?.aborted) throw error;
    finishReason = "abort";
  } finally {
    await Promise.allSettled([reading, masking]);
  }
  await emit(stops.push(await decoder.finish()) + stops.end());
  return {
    text,
    ids,
    finishReason: stops.found ? "stop" : finishReason,
    ...(topLogprobs === undefined ? {} : { scores }),
  };
}

/** A promise that may fail before anybody waits for it. */
function observed<P extends Promise<unknown> | undefined>(promise: P): P {
  promise?.catch(() => {});
  return promise;
}

/** Makes tokens impossible whose bits are not set. */
function forbid(logits: Float32Array, mask: Int32Array): void {
  for (let id = 0; id < logits.length; id++) {
    if (((mask[id >> 5] >> (id & 31)) & 1) === 0) logits[id] = -Infinity;
  }
}

/** Passes text on up to the first stop string, holding back a possible beginning of one. */
export class StopStrings {
  #held = "";
  #found = false;

  constructor(readonly stops: readonly string[]) {}

  /** Whether a stop string was found; nothing is passed on after it. */
  get found(): boolean {
    return this.#found;
  }

  /** Accepts a piece and returns the text that can be shown now. */
  push(piece: string): string {
    if (this.#found) return "";
    const text = this.#held + piece;
    const at = this.stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
    if (at.length > 0) {
      this.#found = true;
      this.#held = "";
      return text.slice(0, Math.min(...at));
    }
    const keep = Math.max(0, ...this.stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }

  /** The held back text, at the end. */
  end(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (stop.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
