/** Finds out which sequences of a batch a model may run together. */
import { type RowCut, singly, together, withoutPadding } from "../data/row_cuts.ts";
import { padTokens } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { toNumbers } from "../graph/tensor.ts";
import { roundsAsItRuns } from "../graph/rounded_activations.ts";
import type { Graph } from "../graph/types.ts";
import { fixedShape } from "../plan/inputs.ts";
import { relativeDistance } from "../statistics.ts";

/**
 * Largest relative difference between what a model computes for a sequence with padding behind it and
 * without that counts as none.
 */
const PADDING_LIMIT = 0.05;
/** How much longer padding makes a sequence that is looked at, up to {@linkcode PADDED_LENGTH} tokens. */
const PADDED_TIMES = 2;
const PADDED_LENGTH = 128;

/**
 * A model that takes one sequence runs each by itself; one whose results depend on padding, because it
 * has no mask, or averages over it, runs each without. What comes before padding does not depend on it
 * in a language model.
 *
 * @param batch one that it is to run
 * @param run what the model computes for a batch
 */
export async function chooseCut(
  graph: Graph,
  batch: TokenBatch,
  run: (batch: TokenBatch) => Promise<ArrayLike<number>>,
): Promise<RowCut> {
  const padded = cutOf(graph);
  if (fixedShape(graph).length !== undefined) return padded;
  if (!graph.inputs.some(({ name }) => name === "attention_mask")) return withoutPadding;
  // Scales that are taken from all activations depend on those of padding: small scores, as a new
  // head gives them, differ by much. Such a model is taken to mind its mask.
  if (roundsAsItRuns(graph)) return padded;
  const [row] = withoutPadding(shortest(batch));
  const without = await run(row);
  const longer = Math.min(PADDED_TIMES * row.tokenCount, PADDED_LENGTH);
  const most = Math.max(batch.inputIds.dims[1], longer);
  const difference = relativeDistance(await run(padTokens(row, most, paddingOf(batch))), without);
  // NaN is no agreement either.
  return difference <= PADDING_LIMIT ? padded : withoutPadding;
}

/** Of a model that padding does not change. */
export function cutOf(graph: Graph): RowCut {
  return fixedShape(graph).sequences === 1 ? singly : together;
}

function shortest(batch: TokenBatch): TokenBatch {
  const rows = singly(batch);
  return rows.reduce((least, row) => row.tokenCount < least.tokenCount ? row : least, rows[0]);
}

/** The token that a batch is padded with; 0 where it is not. */
function paddingOf({ inputIds, attentionMask }: TokenBatch): number {
  const at = Array.from(toNumbers(attentionMask)).indexOf(0);
  return at < 0 ? 0 : Number(toNumbers(inputIds)[at]);
}
