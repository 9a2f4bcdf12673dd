/** Divides one long sequence among threads, each of which computes a span of its tokens. */
import { type Targets, targetsOf, type TokenBatch } from "./targets.ts";
import { firstTokens } from "./slice_batch.ts";

/** Consecutive tokens of a sequence. */
export interface SequenceSpan {
  /** First token. */
  readonly from: number;
  /** The sequence up to the span's last token, which does not attend to later ones. */
  readonly batch: TokenBatch;
  /** Targets of the span's tokens only. */
  readonly targets: Targets;
}

/** Spans begin at multiples of this number of tokens, so that few shapes are planned. */
const STEP = 16;
/** Fewest tokens of a thread. */
const LEAST_TOKENS = STEP;

/**
 * Ends of spans that take about the same time.
 *
 * @param length tokens of the sequence, padding included
 * @param count number of spans
 * @param keyTakes cost of attending to one key, relative to all other computation of a token
 * @returns ends in ascending order, the last of them `length`; a single one if the sequence is too short
 */
export function spanEnds(length: number, count: number, keyTakes: number): number[] {
  if (length < count * LEAST_TOKENS) return [length];
  // Tokens up to t cost t + keyTakes · t² / 2, of which each end takes its share of the total.
  const timeOf = (tokens: number) => tokens + keyTakes * tokens ** 2 / 2;
  const endOf = (share: number) => {
    const time = share * timeOf(length);
    return (Math.sqrt(1 + 2 * keyTakes * time) - 1) / keyTakes;
  };
  const ends: number[] = [];
  for (let i = 1; i < count; i++) {
    const nearest = Math.round(endOf(i / count) / STEP) * STEP;
    // Each span gets its minimum, including the later ones.
    const most = Math.floor((length - (count - i) * LEAST_TOKENS) / STEP) * STEP;
    ends.push(Math.min(most, Math.max(nearest, (ends.at(-1) ?? 0) + LEAST_TOKENS)));
  }
  return [...ends, length];
}

/**
 * The spans of a batch of one sequence.
 *
 * @param ends from {@linkcode spanEnds}
 * @param padTo number of rows to which a count of target rows is padded, with rows of weight 0
 */
export function divideSequence(
  batch: TokenBatch,
  ends: readonly number[],
  padTo: (count: number) => number,
): SequenceSpan[] {
  const all = targetsOf(batch);
  return ends.map((to, i) => {
    const from = i === 0 ? 0 : ends[i - 1];
    return { from, batch: firstTokens(batch, to), targets: targetsWithin(all, from, to, padTo) };
  });
}

function targetsWithin(
  { positions, labels, count: total }: Targets,
  from: number,
  to: number,
  padTo: (count: number) => number,
): Targets {
  const within: number[] = [];
  for (let i = 0; i < total; i++) if (positions![i] >= from && positions![i] < to) within.push(i);
  const count = within.length;
  const rows = padTo(count);
  // Padding rows use the span's own tokens, because those of other spans are not computed.
  const padded = (values: Int32Array, filler: number) =>
    Int32Array.from({ length: rows }, (_, i) => i < count ? values[within[i]] : filler);
  return {
    rows,
    count,
    positions: padded(positions!, from),
    labels: padded(labels, 0),
    weights: Float32Array.from({ length: rows }, (_, i) => i < count ? 1 : 0),
  };
}
