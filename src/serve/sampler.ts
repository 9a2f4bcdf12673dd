/** Chooses the next token from logits: greedy, or sampled from a tempered, truncated distribution. */
import { RuntimeFailure, UsageError } from "../errors.ts";
import { argmax } from "../statistics.ts";
import { mostLikely } from "./most_likely.ts";

/** Options of the choice, with llama.cpp's and OpenAI's names. */
export interface SamplingOptions {
  /** 0 is greedy; default 0. */
  readonly temperature?: number;
  /** Keep this many of the most likely tokens; 0 keeps all. Default 0. */
  readonly topK?: number;
  /** Keep the smallest set of most likely tokens whose probabilities reach this; default 1. */
  readonly topP?: number;
  /**
   * Divides positive logits of tokens seen before, and multiplies negative ones; default 1.
   * Source: Keskar et al., "CTRL", arXiv:1909.05858, section 4.1.
   */
  readonly repetitionPenalty?: number;
  /**
   * Is taken from the logits of generated tokens, once for each time; default 0.
   * Source: OpenAI's API reference, `frequency_penalty` and `presence_penalty`.
   */
  readonly frequencyPenalty?: number;
  /** Is taken from the logits of generated tokens, once; default 0. */
  readonly presencePenalty?: number;
  /** Is added to the logits of these token ids. */
  readonly logitBias?: ReadonlyMap<number, number>;
}

/** Tokens that penalties depend on. */
export interface SeenTokens {
  readonly prompt: readonly number[];
  /** What was generated after it. */
  readonly generated: readonly number[];
}

/** A source of uniform numbers in [0, 1). */
export type Uniform = () => number;

/** @throws {UsageError} naming the option and its value */
export function validateSampling(options: SamplingOptions): void {
  const check = (
    name: string,
    value: number | undefined,
    fine: (v: number) => boolean,
    rule: string,
  ) => {
    if (value !== undefined && !fine(value)) {
      throw new UsageError(`Cannot sample: ${name} must be ${rule}: current value is ${value}`);
    }
  };
  check("temperature", options.temperature, (v) => v >= 0 && v < Infinity, ">= 0");
  check("top-k", options.topK, (v) => Number.isInteger(v) && v >= 0, "a whole number >= 0");
  check("top-p", options.topP, (v) => v > 0 && v <= 1, "in (0, 1]");
  check("repetition-penalty", options.repetitionPenalty, (v) => v > 0 && v < Infinity, "> 0");
  check("frequency-penalty", options.frequencyPenalty, Number.isFinite, "finite");
  check("presence-penalty", options.presencePenalty, Number.isFinite, "finite");
}

/**
 * @param logits of one position, [vocabulary]; changed in place by penalties
 * @returns the chosen token id
 */
export function sample(
  logits: Float32Array,
  seen: SeenTokens,
  options: SamplingOptions,
  uniform: Uniform,
): number {
  adjust(logits, seen, options);
  const temperature = options.temperature ?? 0;
  if (temperature === 0 || options.topK === 1) return argmax(logits);
  return draw(nucleus(logits, temperature, options.topK ?? 0, options.topP ?? 1), uniform);
}

/** Applies what depends on single tokens. */
function adjust(logits: Float32Array, seen: SeenTokens, options: SamplingOptions): void {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, logitBias } = options;
  if (repetitionPenalty !== 1) {
    for (const id of new Set([...seen.prompt, ...seen.generated])) {
      logits[id] = logits[id] > 0 ? logits[id] / repetitionPenalty : logits[id] * repetitionPenalty;
    }
  }
  if (frequencyPenalty !== 0) { for (const id of seen.generated) logits[id] -= frequencyPenalty; }
  if (presencePenalty !== 0) {
    for (const id of new Set(seen.generated)) logits[id] -= presencePenalty;
  }
  for (const [id, bias] of logitBias ?? []) if (id < logits.length) logits[id] += bias;
}

/** Tokens that may be drawn, and their probabilities, which need not sum to 1. */
interface Candidates {
  /** Absent if these are all tokens in order. */
  readonly ids?: readonly number[];
  readonly probabilities: ArrayLike<number>;
}

/** The tokens that may be drawn: all in order, or the most likely ones, the likeliest first. */
function nucleus(
  logits: Float32Array,
  temperature: number,
  topK: number,
  topP: number,
): Candidates {
  const max = logits[argmax(logits)];
  const probabilities = new Float64Array(logits.length);
  let sum = 0;
  for (let id = 0; id < logits.length; id++) {
    sum += probabilities[id] = Math.exp((logits[id] - max) / temperature);
  }
  if (!Number.isFinite(sum)) throw new RuntimeFailure("The model's logits are not all numbers");
  if (topK === 0 && topP === 1) return { probabilities };
  const likeliest = topK > 0
    ? mostLikely(probabilities, (ids) => ids.length >= topK).slice(0, topK)
    : mostLikely(probabilities, (ids) => total(probabilities, ids) >= topP * sum);
  if (topK > 0) sum = total(probabilities, likeliest);
  let reached = 0;
  const end = likeliest.findIndex((id) => (reached += probabilities[id]) >= topP * sum);
  const ids = end < 0 ? likeliest : likeliest.slice(0, end + 1);
  return { ids, probabilities: ids.map((id) => probabilities[id]) };
}

function total(probabilities: Float64Array, ids: readonly number[]): number {
  return ids.reduce((sum, id) => sum + probabilities[id], 0);
}

function draw({ ids, probabilities }: Candidates, uniform: Uniform): number {
  let sum = 0;
  for (let i = 0; i < probabilities.length; i++) sum += probabilities[i];
  let left = uniform() * sum;
  // Rounding can leave a small rest, which belongs to the last candidate.
  let chosen = probabilities.length - 1;
  for (let i = 0; i < probabilities.length; i++) {
    left -= probabilities[i];
    if (left >= 0) continue;
    chosen = i;
    break;
  }
  return ids?.[chosen] ?? chosen;
}
