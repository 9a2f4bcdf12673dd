/** Chooses the next token from logits: greedy, or sampled from a tempered, truncated distribution. */
import { UsageError } from "../errors.ts";
import { argmax } from "../statistics.ts";

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
}

/**
 * @param logits of one position, [vocabulary]; changed in place by the repetition penalty
 * @param seen token ids of the prompt and of the generated text
 * @returns the chosen token id
 */
export function sample(
  logits: Float32Array,
  seen: Iterable<number>,
  options: SamplingOptions,
  uniform: Uniform,
): number {
  const penalty = options.repetitionPenalty ?? 1;
  if (penalty !== 1) {
    for (const id of new Set(seen)) {
      logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
    }
  }
  const temperature = options.temperature ?? 0;
  if (temperature === 0 || options.topK === 1) return argmax(logits);
  return draw(nucleus(logits, temperature, options.topK ?? 0, options.topP ?? 1), uniform);
}

interface Candidate {
  readonly id: number;
  readonly probability: number;
}

/** The tokens that may be drawn, most likely first, with probabilities that need not sum to 1. */
function nucleus(
  logits: Float32Array,
  temperature: number,
  topK: number,
  topP: number,
): Candidate[] {
  const max = logits[argmax(logits)];
  let sum = 0;
  const candidates = Array.from(logits, (logit, id) => {
    const probability = Math.exp((logit - max) / temperature);
    sum += probability;
    return { id, probability };
  });
  if (topK === 0 && topP === 1) return candidates;
  candidates.sort((a, c) => c.probability - a.probability || a.id - c.id);
  const kept = topK > 0 ? candidates.slice(0, topK) : candidates;
  if (topK > 0) sum = kept.reduce((total, { probability }) => total + probability, 0);
  let reached = 0;
  const end = kept.findIndex(({ probability }) => (reached += probability) >= topP * sum);
  return end < 0 ? kept : kept.slice(0, end + 1);
}

function draw(candidates: readonly Candidate[], uniform: Uniform): number {
  const sum = candidates.reduce((total, { probability }) => total + probability, 0);
  let left = uniform() * sum;
  for (const { id, probability } of candidates) {
    left -= probability;
    if (left < 0) return id;
  }
  // Rounding can leave a small rest, which belongs to the last candidate.
  return candidates[candidates.length - 1].id;
}
