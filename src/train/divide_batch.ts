/** Divides a batch into the parts that a step computes at the same time. */
import { shareBatch } from "../data/share_batch.ts";
import { rowBucket, targetsOf, type TokenBatch } from "../data/targets.ts";
import type { Model } from "../graph/types.ts";
import { divideSequence, spanEnds } from "../data/divide_sequence.ts";
import { type Arithmetic, numericOf } from "../plan/arithmetic.ts";
import { IndivisibleError } from "../plan/span.ts";
import {
  arithmeticOfGradients,
  leavesOutPacking,
  packingRules,
  type PlannedModelOptions,
  type PlanUse,
} from "./planned_options.ts";
import { type Prepared, prepareParts, prepareSpans } from "./step_inputs.ts";

/** A batch as training computes it. */
export interface DividedBatch {
  /** The parts that have targets. */
  readonly parts: readonly Prepared[];
  /** What each part is planned for. */
  readonly use: PlanUse & { readonly parts: number };
}

/** @param use default the model's own arithmetic, without dropout */
export function divideBatch(
  options: PlannedModelOptions,
  batch: TokenBatch,
  { dropout, arithmetic = arithmeticOfGradients(options) }: Omit<PlanUse, "passes" | "parts"> = {},
): DividedBatch {
  const use = { dropout, arithmetic };
  const { shards = 1 } = options;
  const rules = packingRules(options, use);
  const spans = spansOf(options, batch, arithmetic);
  if (spans !== undefined) {
    return { parts: spans, use: { ...use, passes: ["training"], parts: spans.length } };
  }
  const shares = shareBatch(batch, shards, rules.sharesPrefixes);
  const parts = prepareParts(shares, rules);
  // A single remaining part runs on all threads.
  return { parts, use: { ...use, passes: ["training"], parts: Math.max(1, parts.length) } };
}

/** The result for sequences divided into spans, or for whole ones if the model's cannot be divided. */
export function ifDivisible<T>(plan: (dividesSequences: boolean) => T): T {
  try {
    return plan(true);
  } catch (error) {
    if (!(error instanceof IndivisibleError)) throw error;
    return plan(false);
  }
}

/**
 * The cost in attention of a key that a token sees, relative to everything else that is computed for a token,
 * in a model whose width is 1: products of attention and its softmax, both ways.
 */
const KEY_TAKES = { exact: 0.55, fast: 1 };

/** The spans of a language model's single sequence; `undefined` if it is computed as one. */
function spansOf(
  options: PlannedModelOptions,
  batch: TokenBatch,
  arithmetic: Arithmetic,
): readonly Prepared[] | undefined {
  const { shards = 1, objective, packing = true, dividesSequences = true, trainable, model } =
    options;
  const [sequences, length] = batch.inputIds.dims;
  if (shards === 1 || sequences > 1 || objective !== "causal" || !packing) return undefined;
  if (!dividesSequences || leavesOutPacking(options)) return undefined;
  if (targetsOf(batch).count === 0) return undefined;
  const ends = spanEnds(
    length,
    shards,
    KEY_TAKES[numericOf(arithmetic)] / widthOf(model, trainable),
  );
  if (ends.length === 1) return undefined;
  return prepareSpans(divideSequence(batch, ends, rowBucket));
}

/** Approximates the model's width by that of most of what is trained. */
function widthOf({ graph }: Model, trainable: ReadonlySet<string>): number {
  const widths = [...trainable].map((name) => Math.max(1, ...graph.initializers.get(name)!.dims));
  return widths.sort((a, b) => a - b)[widths.length >> 1];
}
