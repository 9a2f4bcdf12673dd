/** Log-probabilities of a generated token and of the likeliest ones in its place. */
import { argmax } from "../statistics.ts";
import { mostLikely } from "./most_likely.ts";

/** A token and the logarithm of its probability. */
export interface ScoredToken {
  /** Its id. */
  readonly id: number;
  /** Natural logarithm of its probability. */
  readonly logprob: number;
}

/** A generated token, and what else could have stood in its place. */
export interface TokenScores extends ScoredToken {
  /** The likeliest tokens, the likeliest first. */
  readonly top: readonly ScoredToken[];
}

/**
 * Scores a token by the model's own distribution: before penalties, temperature and truncation.
 *
 * @param logits of one position, [vocabulary]
 * @param count number of the likeliest tokens to return
 * @returns a function of the chosen token, so that the logits may change meanwhile
 */
export function scoresOf(logits: Float32Array, count: number): (id: number) => TokenScores {
  const max = logits[argmax(logits)];
  const differences = Float64Array.from(logits, (logit) => logit - max);
  const probabilities = differences.map(Math.exp);
  const logSum = Math.log(probabilities.reduce((a, c) => a + c, 0));
  const scored = (id: number): ScoredToken => ({ id, logprob: differences[id] - logSum });
  const top = count === 0
    ? []
    : mostLikely(probabilities, (ids) => ids.length >= count).slice(0, count).map(scored);
  return (id) => ({ ...scored(id), top });
}
