/** What a merge is worth: how much of an adapter's gain the merged model keeps, at which cost. */
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
  /** How many targets these are; default unknown. */
  readonly logitRows?: number;
  /** Where the runtime may round activations and the loss is of floats: what that changes of the logits. */
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
  /** The same for the base against a second session of itself: what the machine's noise does. */
  readonly controlRatio: number;
  /** Rounds that were timed. */
  readonly rounds: number;
}

/** One way of merging, carried out and measured. */
export interface Candidate {
  /** How it was rounded. */
  readonly method: MergeMethod;
  /** Bytes of the model file and its data files. */
  readonly sizeBytes: number;
  /** What the merge did to each matrix. */
  readonly matrices: readonly MatrixReport[];
  /** Absent where there is no held-out data. */
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

/** Share of the gain to aim at: the first way of merging that keeps it ends the search. */
export const MIN_GAIN_KEPT = 0.995;
/** Share of the gain below which a merge is refused, where no less was aimed at. */
export const LEAST_GAIN_KEPT = 0.9;

/**
 * (L_base − L_merged) / (L_base − L_adapter); `undefined` where the adapter gains nothing on the
 * held-out data, so that there is nothing to keep a share of.
 */
export function gainKept(
  base: Pick<Evaluated, "loss">,
  adapter: Pick<Evaluated, "loss">,
  merged: Pick<Evaluated, "loss">,
): number | undefined {
  const gain = base.loss - adapter.loss;
  return gain > 0 ? (base.loss - merged.loss) / gain : undefined;
}

/** Resamples of the data, and the share of their results on either side that an interval leaves out. */
const BOOTSTRAP = { resamples: 2000, tail: 0.025 };
/** Parts of the data below which resampling says nothing. */
const LEAST_PARTS = 5;

/**
 * The 95% interval of {@linkcode gainKept}: percentiles over resamples of the parts of the held-out data
 * (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979). The same for the same losses.
 *
 * @returns `undefined` where the parts are too few or not the same ones, or nothing is gained
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

/** Loss that an adapter without gain on the held-out data may lose by merging, relative. */
const LOSS_TOLERANCE = 0.01;

/** Whether a candidate keeps enough; without held-out data nothing says it does not. */
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
 * The smallest candidate that keeps the share aimed at, of equally large ones the one that keeps most;
 * where none does, the one that keeps most of all.
 *
 * @param min share of the gain to aim at
 * @returns `undefined` where none keeps {@linkcode LEAST_GAIN_KEPT}, or less where less is aimed at
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

/** The candidate of the lowest held-out loss: the best there is where none keeps enough. */
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
 * Share of the sampled targets for which two models rate the same answer best: the greedy next token of
 * a language model, given what stands before it.
 *
 * @returns `undefined` where the number of targets is unknown
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
