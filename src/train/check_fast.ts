/**
 * Compares the gradients of the `fast` setting with those of `exact` on a real batch, before the
 * first step: how much rounding to 8 bits costs depends on the model, its outliers and the
 * processor (kernels without VNNI saturate).
 */
import { cutBatch, firstTokens, sliceBatch } from "../data/slice_batch.ts";
import { type RowCut, together } from "../data/row_cuts.ts";
import { targetsOf, type TokenBatch } from "../data/targets.ts";
import { toNumbers } from "../graph/tensor.ts";
import { type Arithmetic, floatsBeside } from "../plan/arithmetic.ts";
import type { Numeric } from "../plan/names.ts";
import type { PlannedModel } from "./planned_model.ts";

/**
 * Smallest cosine between the gradients of the two settings at which training goes on in `fast`.
 *
 * With SmolLM2-135M the first {@linkcode SEQUENCES} sequences of a batch reach 0.989 to 0.992, short ones the
 * least, and whole batches of eight reach 0.991 to 0.994; with MiniLM it is 0.998
 * (`scripts/figures/numeric.ts`).
 */
export const FAST_THRESHOLD = 0.98;

/** The parts of a model that the comparison uses. */
export type ComparedModel = Pick<PlannedModel, "parameters" | "accumulate" | "zeroGrad">;

/** The two arithmetics that are compared. */
export type BothSettings = Readonly<Record<Numeric, Arithmetic>>;

/** An arithmetic of `fast`, and the float arithmetic that it is compared with. */
export function besideFloats(fast: Arithmetic): BothSettings {
  return { exact: floatsBeside(fast), fast };
}

/** The result of the comparison: of all compared sequences or of the typical few, whichever is closer. */
export interface FastCheck {
  /** ⟨fast, exact⟩ / (‖fast‖₂·‖exact‖₂) over the gradients of all trained parameters. */
  readonly cosine: number;
  /** ‖fast − exact‖₂ / ‖exact‖₂ */
  readonly relativeError: number;
  /** Whether the model may go on in `fast`. */
  readonly passed: boolean;
}

/** Sequences compared at once: usually enough to tell, and few enough for the memory of `exact`. */
const SEQUENCES = 4;
/**
 * Sequences compared before deciding against `fast`: rounding affects one sequence differently from the next,
 * so the gradient of a few short ones has a larger error than that of a batch.
 */
export const DECIDING_SEQUENCES = 16;

/**
 * Computes the gradients of a run's first sequences in both settings, and of more sequences if those differ.
 * Accumulated gradients are dropped.
 *
 * `fast` passes if the sum over all compared sequences does, or half of the groups of about
 * {@linkcode SEQUENCES}: there are sequences whose gradient hangs on the last bits of an activation, whatever
 * rounds them, and one of them decides a sum. Of 96 batches of four rows of plain text SmolLM2-135M reaches
 * 0.98 to 0.995 with 91, 0.96 to 0.976 with four, and 0.86 with one (`scripts/figures/rounded_gradients.ts`,
 * seeds 1 to 3).
 *
 * @param batches the run's first ones, in order; their sequences fit in memory together
 * @param cut which sequences run together
 */
export async function checkFast(
  step: ComparedModel,
  both: BothSettings,
  [batch, ...later]: readonly TokenBatch[],
  cut: RowCut = together,
): Promise<FastCheck> {
  const first = await gradientsInBoth(step, both, cut(checkedPart(batch)));
  let compared = compareGradients(first.exact, first.fast);
  if (!(compared.cosine >= FAST_THRESHOLD)) {
    const others = othersOf(batch, later).map((group) => group.flatMap(cut));
    if (others.length > 0) compared = await closestOf(step, both, first, others);
  }
  // NaN passes no comparison.
  return { ...compared, passed: compared.cosine >= FAST_THRESHOLD };
}

/** The comparison over all groups together, or of the group in their middle, whichever is closer. */
async function closestOf(
  step: ComparedModel,
  both: BothSettings,
  sums: GradientsInBoth,
  others: readonly (readonly TokenBatch[])[],
): Promise<Comparison> {
  const groups = [compareGradients(sums.exact, sums.fast)];
  // The memory of vectors that are left behind is not free again before the first step.
  let gradient: Float32Array<ArrayBuffer>[] = [];
  const add = async (setting: Numeric, group: readonly TokenBatch[]) => {
    gradient = await readGradient(step, both[setting], group, gradient);
    addTo(sums[setting], gradient);
    return sampled(gradient);
  };
  // Changing the setting rounds all weights anew: each is entered once.
  const exacts: Float32Array[][] = [];
  for (const group of others) exacts.push(await add("exact", group));
  for (const [i, group] of others.entries()) {
    groups.push(compareGradients(exacts[i], await add("fast", group)));
  }
  // A group without a gradient has no cosine.
  const closeness = ({ cosine }: Comparison) => Number.isNaN(cosine) ? -1 : cosine;
  groups.sort((a, b) => closeness(b) - closeness(a));
  const middle = groups[Math.ceil(groups.length / 2) - 1];
  // NaN if any gradient has one.
  const whole = compareGradients(sums.exact, sums.fast);
  return middle.cosine > whole.cosine ? middle : whole;
}

/** The sums of the gradients of some batches in both settings; `fast` runs last. */
export async function gradientsInBoth(
  step: ComparedModel,
  both: BothSettings,
  batches: readonly TokenBatch[],
): Promise<GradientsInBoth> {
  const exact = await gradientOf(step, both.exact, ...batches);
  return { exact, fast: await gradientOf(step, both.fast, ...batches) };
}

interface GradientsInBoth {
  readonly exact: readonly Float32Array[];
  readonly fast: readonly Float32Array[];
}

function addTo(sums: readonly Float32Array[], gradients: readonly Float32Array[]): void {
  sums.forEach((sum, p) => gradients[p].forEach((value, i) => sum[i] += value));
}

/** Entries by which groups are compared: all of an adapter's would take its size for each group. */
const SAMPLE = 2 ** 18;

/** Every n-th entry of a gradient; n is odd, so that it meets all columns of matrices of an even width. */
function sampled(gradient: readonly Float32Array[]): Float32Array[] {
  const size = gradient.reduce((sum, { length }) => sum + length, 0);
  const stride = Math.ceil(size / SAMPLE) | 1;
  let at = 0;
  return gradient.map((values) => {
    const start = (stride - at % stride) % stride;
    at += values.length;
    const count = Math.max(0, Math.ceil((values.length - start) / stride));
    return Float32Array.from({ length: count }, (_, i) => values[start + i * stride]);
  });
}

/** How close a gradient is to another. */
export type Comparison = Pick<FastCheck, "cosine" | "relativeError">;

/** Cosine and relative error of a gradient against the exact one, over all parameters. */
export function compareGradients(
  exact: readonly Float32Array[],
  found: readonly Float32Array[],
): Comparison {
  let [product, exactSquares, foundSquares, errorSquares] = [0, 0, 0, 0];
  exact.forEach((values, p) =>
    values.forEach((value, i) => {
      const other = found[p][i];
      product += value * other;
      exactSquares += value * value;
      foundSquares += other * other;
      errorSquares += (value - other) ** 2;
    })
  );
  return {
    cosine: product / Math.sqrt(exactSquares * foundSquares),
    relativeError: Math.sqrt(errorSquares / exactSquares),
  };
}

/** The part of a batch that is compared. */
export function checkedPart(batch: TokenBatch): TokenBatch {
  const few = sliceBatch(batch, 0, SEQUENCES);
  return [shortened(few), few].find((part) => targetsOf(part).count > 0) ?? batch;
}

/**
 * Tokens compared per sequence: enough to tell, and no step of the run needs as much memory as `exact` would
 * over longer sequences.
 */
const TOKENS = 1024;

function shortened(batch: TokenBatch): TokenBatch {
  return batch.inputIds.dims[1] > TOKENS ? firstTokens(batch, TOKENS) : batch;
}

/** Tokens compared of each later sequence, however few the first ones have. */
const LEAST_TOKENS = 64;

/**
 * Sequences with targets after the compared part of the first batch, in groups of about as many as are
 * compared at once. They are cut to that part's length: memory was planned for it, and another length is
 * planned and compiled by itself.
 */
function othersOf(batch: TokenBatch, later: readonly TokenBatch[]): TokenBatch[][] {
  const compared = checkedPart(batch);
  const [rows, length] = compared.inputIds.dims;
  const longest = Math.max(LEAST_TOKENS, length);
  const rest = compared === batch ? [] : [sliceBatch(batch, SEQUENCES, sequencesOf(batch))];
  const parts = [...rest, ...later].flatMap((one) =>
    cutBatch(firstTokens(one, Math.min(longest, one.inputIds.dims[1])), Math.min(rows, SEQUENCES))
  );
  const groups: TokenBatch[][] = [];
  let [left, room] = [DECIDING_SEQUENCES - sequencesOf(compared), 0];
  for (const part of parts) {
    if (targetsOf(part).count === 0) continue;
    if (left <= 0) break;
    if (room <= 0) {
      groups.push([]);
      room = SEQUENCES;
    }
    groups.at(-1)!.push(part);
    room -= sequencesOf(part);
    left -= sequencesOf(part);
  }
  return groups;
}

const sequencesOf = ({ inputIds }: TokenBatch) => inputIds.dims[0];

/**
 * The sum of the gradients of some batches in an arithmetic, one vector per parameter; none if no loss
 * depends on it.
 */
export async function gradientOf(
  step: ComparedModel,
  arithmetic: Arithmetic,
  ...batches: readonly TokenBatch[]
): Promise<Float32Array[]> {
  return await readGradient(step, arithmetic, batches, []);
}

/** @param into vectors of an earlier gradient, which are written over */
async function readGradient(
  step: ComparedModel,
  arithmetic: Arithmetic,
  batches: readonly TokenBatch[],
  into: readonly Float32Array<ArrayBuffer>[],
): Promise<Float32Array<ArrayBuffer>[]> {
  step.zeroGrad();
  for (const batch of batches) await step.accumulate(batch, 0, { arithmetic });
  const gradient = step.parameters.map(({ grad }, p) => {
    if (grad === undefined) return new Float32Array();
    const vector = into.at(p);
    const read = grad.read(vector && new Uint8Array(vector.buffer));
    return read.bytes.buffer === vector?.buffer ? vector : Float32Array.from(toNumbers(read));
  });
  step.zeroGrad();
  return gradient;
}
