/**
 * How long a step of training on several boards takes: a model of its parts (docs/design/ranks.md).
 *
 * A sum of S bytes over N boards takes rounds · latency + 2(N−1)/N · S / rate. That is the lower bound of bytes for a sum over N boards
 * (P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009), and
 * rounds = 2·⌈log2 N⌉ those of halving and doubling (R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of
 * Collective Communication Operations in MPICH", 2005), which MPICH takes for long arrays.
 */

/** Adapters on q and v of SmolLM2-135M: 30 layers, 576 inputs, 576 and 192 outputs. */
export const ADAPTERS = [8, 64].map((rank) => ({
  name: `r${rank} on q,v of SmolLM2`,
  rank,
  floats: 30 * rank * (576 + 576 + 576 + 192),
}));

/** Bytes that each of N boards sends for a sum of S bytes. */
export const bytesOnWire = (boards: number, bytes: number): number =>
  2 * (boards - 1) / boards * bytes;

/** Messages one after another in a sum over N boards. */
export const roundsOf = (boards: number): number => 2 * Math.ceil(Math.log2(boards));

/** What a wire does. */
export interface WireModel {
  /** Seconds of a round, however few its bytes. */
  readonly latency: number;
  /** Share of the nominal rate that reaches a sum's bytes. */
  readonly efficiency: number;
}

/** A measured sum. */
export interface MeasuredSum {
  readonly ranks: number;
  readonly bitsPerSecond: number;
  readonly bytes: number;
  readonly p50Ms: number;
}

/** Seconds of a sum of S bytes. */
export function sumSeconds(
  { latency, efficiency }: WireModel,
  boards: number,
  bytes: number,
  bitsPerSecond: number,
): number {
  return roundsOf(boards) * latency +
    8 * bytesOnWire(boards, bytes) / (efficiency * bitsPerSecond);
}

/** Fits a wire to sums, by least squares of relative errors. */
export function fitWire(sums: readonly MeasuredSum[]): WireModel {
  // seconds = latency · rounds + bits/rate · (1/efficiency), each divided by the seconds.
  let [aa, ab, bb, ay, by] = [0, 0, 0, 0, 0];
  for (const { ranks, bitsPerSecond, bytes, p50Ms } of sums) {
    const seconds = p50Ms / 1000;
    const a = roundsOf(ranks) / seconds;
    const b = 8 * bytesOnWire(ranks, bytes) / bitsPerSecond / seconds;
    [aa, ab, bb, ay, by] = [aa + a * a, ab + a * b, bb + b * b, ay + a, by + b];
  }
  const determinant = aa * bb - ab * ab;
  return {
    latency: (ay * bb - by * ab) / determinant,
    efficiency: determinant / (by * aa - ay * ab),
  };
}

/** A training on several boards, each with the same number of rows. */
export interface TrainingModel {
  /** Seconds in which a board computes its rows of a batch. */
  readonly compute: number;
  /** Of that, the share of the backward pass, in which gradients become complete. */
  readonly backward: number;
  /** How much longer the slowest board computes than the mean, as a factor, by number of boards. */
  readonly imbalance: (boards: number) => number;
  /** Bytes of the gradient. */
  readonly bytes: number;
  /** Batches of a step (`--grad-accumulation-steps`). */
  readonly accumulation: number;
  /** Whether gradients travel while the backward pass goes on. */
  readonly overlaps: boolean;
}

/** Sums of single numbers in a step: whether all may go on, and the losses. */
const SMALL_SUMS = 2;
/** Least bytes of gradients that travel together (`src/distributed/gradient_buckets.ts`). */
const BUCKET_BYTES = 2 ** 18;

/** Seconds of a step. */
export function stepSeconds(
  { compute, backward, accumulation, bytes, overlaps, imbalance }: TrainingModel,
  wire: WireModel,
  boards: number,
  bitsPerSecond: number,
): number {
  const computed = accumulation * compute * imbalance(boards);
  if (boards === 1) return computed;
  const secondsOf = (size: number) => sumSeconds(wire, boards, size, bitsPerSecond);
  const buckets = Math.ceil(bytes / BUCKET_BYTES);
  const gradient = secondsOf(bytes) + (buckets - 1) * secondsOf(0);
  // The group of the first layers is complete last; only the last batch's gradients are whole.
  const last = secondsOf(Math.min(bytes, BUCKET_BYTES));
  const waited = overlaps ? Math.max(last, gradient - backward * compute) : gradient;
  return computed + SMALL_SUMS * secondsOf(0) + waited;
}

/** The share of N boards' work that a job of as many does: 1 if it were N times as fast as one board. */
export function efficiencyOf(
  training: TrainingModel,
  wire: WireModel,
  boards: number,
  bitsPerSecond: number,
): number {
  return stepSeconds(training, wire, 1, bitsPerSecond) /
    stepSeconds(training, wire, boards, bitsPerSecond);
}
