/** Generates text token by token from a causal model. */
import { Random } from "../random.ts";
import type { CausalModel } from "./causal_model.ts";
import { sample, type SamplingOptions, validateSampling } from "./sampler.ts";

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
}

/** The part of a model that reads tokens and returns logits. */
export type TokenReader = Pick<CausalModel, "continueTo" | "advance">;

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
}

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
  onText: (piece: string) => void | Promise<void> = () => {},
): Promise<Generated> {
  validateSampling(options);
  const random = Random.fromSeed(options.seed ?? 0);
  const stops = new StopStrings(options.stop ?? []);
  const ids: number[] = [];
  const seen = [...prompt];
  let text = "";
  const emit = async (piece: string) => {
    if (piece === "") return;
    text += piece;
    await onText(piece);
  };
  let finishReason: FinishReason = "length";
  while (ids.length < options.maxTokens) {
    if (options.signal?.aborted) {
      finishReason = "abort";
      break;
    }
    const logits = ids.length === 0
      ? await model.continueTo(prompt)
      : await model.advance(ids.slice(-1));
    const known = logits.subarray(0, options.vocabSize);
    const id = sample(known, seen, options, () => random.next() / 2 ** 32);
    if (options.endIds.has(id)) {
      finishReason = "stop";
      break;
    }
    ids.push(id);
    seen.push(id);
    await emit(stops.push(await decoder.push(id)));
    if (stops.found) break;
  }
  await emit(stops.push(await decoder.finish()) + stops.end());
  return { text, ids, finishReason: stops.found ? "stop" : finishReason };
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
