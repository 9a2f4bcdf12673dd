/** The inputs that a step is fed from a batch. */
import type { SequenceSpan } from "../data/divide_sequence.ts";
import { type Packing, packingOf, type PackingRules, rowsOf } from "../data/packing.ts";
import {
  rowBucket,
  type Targets,
  targetsOf,
  type TokenBatch,
  tokenInput,
} from "../data/targets.ts";
import { float32, int64, type Tensor } from "../graph/tensor.ts";
import { DROPOUT_SEED } from "../plan/dropout.ts";
import type { Span } from "../plan/span.ts";
import { TOKEN_INPUTS } from "../plan/inputs.ts";
import { EXPECTED_ROWS, FIRST_ROWS, LABELS, PACKED, ROW_WEIGHTS, SHARED } from "../plan/names.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";

/** A batch and what is computed from it once for all its uses. */
export interface Prepared {
  readonly batch: TokenBatch;
  readonly targets: Targets;
  /** Absent if padding is computed like any token. */
  readonly packing?: Packing;
  /** Of a single sequence: the tokens that are computed. */
  readonly span?: Span;
}

/**
 * Prepares the parts of a batch that have targets: all for one shape if they have the same number of
 * sequences, since the smallest would wait for the others anyway.
 */
export function prepareParts(parts: readonly TokenBatch[], rules: PackingRules): Prepared[] {
  const counted = parts.map((batch) => ({ batch, count: targetsOf(batch).count }))
    .filter(({ count }) => count > 0);
  const targetRows = rowBucket(Math.max(...counted.map(({ count }) => count)));
  const packed = rules.packs ? counted.map(({ batch }) => rowsOf(batch, rules)) : [];
  const rows = Math.max(...packed.map(({ least }) => least));
  const common = Math.min(...packed.filter(({ isShared }) => isShared).map(({ common }) => common));
  return counted.map(({ batch }, i) => ({
    batch,
    targets: targetsOf(batch, () => targetRows),
    packing: rules.packs ? packingOf(packed[i], rows, common) : undefined,
  }));
}

/** Prepares the spans of a sequence, including those without targets: the others read their keys. */
export function prepareSpans(spans: readonly SequenceSpan[]): Prepared[] {
  return spans.map(({ from, batch, targets }, i) => {
    const [, length] = batch.inputIds.dims;
    const tokens = Array.from({ length: length - from }, (_, t) => from + t);
    return {
      batch,
      targets,
      packing: {
        rows: length - from,
        positions: int64([length - from], tokens),
        rowOf: int64([length], Array.from({ length }, (_, t) => Math.max(0, t - from))),
        common: 0,
      },
      span: { from, continues: i + 1 < spans.length },
    };
  });
}

/** {@linkcode prepareParts} for a batch that is computed as one, with or without targets. */
export function prepare(batch: TokenBatch, rules: PackingRules): Prepared {
  return {
    batch,
    targets: targetsOf(batch, rowBucket),
    packing: rules.packs ? packingOf(rowsOf(batch, rules)) : undefined,
  };
}

/** Inputs that a step may have besides those of the user's graph. */
export const STEP_INPUTS = new Set([
  LABELS,
  ROW_WEIGHTS,
  EXPECTED_ROWS,
  TARGET_ROWS,
  FIRST_ROWS,
  DROPOUT_SEED,
]);

/**
 * Everything a step may feed from a batch.
 *
 * @param types types of the step's inputs
 */
export function batchInputs(
  { batch, targets, packing }: Prepared,
  types: ReadonlyMap<string, Pick<Tensor, "dtype" | "dims">>,
): Map<string, Tensor> {
  const inputs = new Map<string, Tensor>([
    [LABELS, int64([targets.rows], targets.labels)],
    [ROW_WEIGHTS, float32([targets.rows], targets.weights)],
  ]);
  if (packing !== undefined) {
    const { positions, rowOf, firstOf } = packing;
    const names = firstOf === undefined ? PACKED : SHARED;
    inputs.set(names.positions, positions);
    inputs.set(names.rows, { ...rowOf, dims: types.get(names.rows)?.dims ?? rowOf.dims });
    if (firstOf !== undefined) inputs.set(FIRST_ROWS, firstOf);
  }
  for (const name of TOKEN_INPUTS) {
    inputs.set(name, tokenInput(name, batch, types.get(name)?.dtype)!);
  }
  if (targets.positions !== undefined) {
    inputs.set(TARGET_ROWS, int64([targets.rows], targets.positions));
  }
  return inputs;
}

/** A seed for each part's dropout masks; the first part's is the step's own. */
export function partSeed(seed: number, part: number): number {
  // A multiple of 2^32 divided by the golden ratio: far from the seeds of other parts and steps.
  return (seed + Math.imul(part, 0x9e3779b9)) >>> 0;
}
