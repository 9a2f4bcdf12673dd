/** Evaluates a merge: the share of the adapter's gain that the merged model keeps, and its cost. */
import { Random } from "../../random.ts";
import { argmax } from "../../statistics.ts";
import type { MatrixReport } from "./matrix.ts";
import type { MergeMethod } from "./plan.ts";

/** Figures of one model on held-out data. */
export interface Evaluated {
  /** Mean loss per target, in nats. */
  readonly loss: number;
  /** For classifiers. */
  readonly accuracy?: number;
  /** Mean of the classes' F1 scores, 0 to 1; for classifiers. */
  readonly macroF1?: number;
  /** Targets counted. */
  readonly count: number;
  /** Sums of losses over independent parts of the data, the same parts for every model. */
  readonly partLosses?: readonly number[];
  /** The runtime's logits of some held-out targets, the same ones for every model. */
  readonly logits: Float32Array;
  /** Number of these targets; default unknown. */
  readonly logitRows?: number;
  /** Difference of the logits if the runtime rounds activations, when the loss is computed in floats. */
  readonly roundingDifference?: number;
}

/** Run times of one model against the base, from interleaved runs. */
export interface Latency {
  /** Median of one run, in milliseconds. */
  readonly milliseconds: number;
  /** Median of one run of the base, in milliseconds. */
  readonly baseMilliseconds: number;
  /** Median over rounds of (this model's time / the base's in the same round). */
  readonly ratio: number;
  /** The same for the base against a second session of itself: the machine's noise. */
  readonly controlRatio: number;
  /** Rounds that were timed. */
  readonly rounds: number;
}

/** A merged model by one method, with its measurements. */
export interface Candidate {
  /** How it was rounded. */
  readonly method: MergeMethod;
  /** Bytes of the model file and its data files. */
  readonly sizeBytes: number;
  /** What the merge did to each matrix. */
  readonly matrices: readonly MatrixReport[];
  /** Absent without held-out data. */
  readonly evaluated?: Evaluated;
  /** Times of its runs beside the base's; only what is written is timed. */
  readonly latency?: Latency;
}

/** Everything measured for one merge. */
export interface Measurements {
  /** Bytes of the base's files. */
  readonly baseSizeBytes: number;
  /** The base on held-out data, where there was any. */
  readonly base?: Evaluated;
  /** The base with its adapters, unmerged. */
  readonly adapter?: Evaluated;
  /** Ways of merging that were tried, in order. */
  readonly candidates: readonly Candidate[];
}

/** Default target of the gain kept: the first method that reaches it ends the search. */
export const MIN_GAIN_KEPT = 0.995;
/** Share of the gain below which a merge is refused, unless a smaller share was requested. */
export const LEAST_GAIN_KEPT = 0.9;

/**
 * (L_base − L_merged) / (L_base − L_adapter); `undefined` if the adapter gains nothing on the held-out
 * data, so that there is no share to compute.
 */
export function gainKept(
  base: Pick<Evaluated, "loss">,
  adapter: Pick<Evaluated, "loss">,
  merged: Pick<Evaluated, "loss">,
): number | undefined {
  const gain = base.loss - adapter.loss;
  return gain > 0 ? (base.loss - merged.loss) / gain : undefined;
}

/** Number of resamples of the data, and the share of results that the interval leaves out on either side. */
const BOOTSTRAP = { resamples: 2000, tail: 0.025 };
/** Fewest parts of the data for resampling. */
const LEAST_PARTS = 5;

/**
 * The 95% interval of {@linkcode gainKept}: percentiles over resamples of the parts of the held-out data
 * (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979). Deterministic: equal losses give
 * equal intervals.
 *
 * @returns `undefined` if the parts are too few or not the same ones, or nothing is gained
 */
export function gainKeptInterval(
  base: Evaluated,
  adapter: Evaluated,
  merged: Evaluated,
): readonly [low: number, high: number] | undefined {
  const [from, best, found] = [base, adapter, merged].map(({ partLosses = [] }) => partLosses);
  const parts = from.length;
  const alike = best.length === parts && found.length === parts;
  if (parts < LEAST_PARTS || !alike || gainKept(base, adapter, merged) === undefined) {
    return undefined;
  }
  const random = Random.fromSeed(0);
  const shares = Array.from({ length: BOOTSTRAP.resamples }, () => {
    let [kept, gain] = [0, 0];
    for (let i = 0; i < parts; i++) {
      const part = Math.floor(random.next() / 2 ** 32 * parts);
      kept += from[part] - found[part];
      gain += from[part] - best[part];
    }
    return gain > 0 ? kept / gain : 0;
  }).sort((a, b) => a - b);
  const at = (share: number) =>
    shares[Math.min(shares.length - 1, Math.floor(share * shares.length))];
  return [at(BOOTSTRAP.tail), at(1 - BOOTSTRAP.tail)];
}

/** Largest relative increase of the loss when merging an adapter without gain on the held-out data. */
const LOSS_TOLERANCE = 0.01;

/** Whether a candidate keeps enough; always true without held-out data. */
export function isKept(
  { base, adapter }: Pick<Measurements, "base" | "adapter">,
  { evaluated }: Pick<Candidate, "evaluated">,
  least: number,
): boolean {
  if (base === undefined || adapter === undefined || evaluated === undefined) return true;
  const share = gainKept(base, adapter, evaluated);
  return share === undefined
    ? evaluated.loss <= adapter.loss * (1 + LOSS_TOLERANCE)
    : share >= least;
}

/**
 * Chooses the smallest candidate that keeps the target share, of equally large ones the one that keeps
 * most; if there is none, the one that keeps most.
 *
 * @param min target share of the gain
 * @returns `undefined` if none keeps {@linkcode LEAST_GAIN_KEPT}, or `min` if that is smaller
 */
export function chooseCandidate(
  measured: Measurements,
  min = MIN_GAIN_KEPT,
): Candidate | undefined {
  const [best] = measured.candidates
    .filter((candidate) => isKept(measured, candidate, min))
    .toSorted((a, b) => a.sizeBytes - b.sizeBytes || lossOf(a) - lossOf(b));
  if (best !== undefined) return best;
  const most = bestCandidate(measured);
  const enough = most !== undefined && isKept(measured, most, Math.min(min, LEAST_GAIN_KEPT));
  return enough ? most : undefined;
}

/** The candidate with the lowest held-out loss: the best one if none keeps enough. */
export function bestCandidate(measured: Measurements): Candidate | undefined {
  return measured.candidates.toSorted((a, b) => lossOf(a) - lossOf(b))[0];
}

const lossOf = ({ evaluated }: Candidate) => evaluated?.loss ?? 0;

/** Largest absolute difference of two samples of logits. */
export function largestDifference(a: Float32Array, b: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    largest = Math.max(largest, Math.abs(a[i] - b[i]));
  }
  return largest;
}

/**
 * Share of the sampled targets for which two models have the same best answer: the greedy next token of
 * a language model, given the same preceding tokens.
 *
 * @returns `undefined` if the number of targets is unknown
 */
export function sameBest(a: Evaluated, b: Evaluated): number | undefined {
  const { logitRows: rows = 0 } = a;
  if (rows === 0 || b.logits.length !== a.logits.length) return undefined;
  const classes = a.logits.length / rows;
  let same = 0;
  for (let row = 0; row < rows; row++) {
    const [from, to] = [row * classes, (row + 1) * classes];
    if (argmax(a.logits.subarray(from, to)) === argmax(b.logits.subarray(from, to))) same++;
  }
  return same / rows;
}
