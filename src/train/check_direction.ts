/**
 * Checks that a model predicts each token only from those before it: else it would learn to copy the token.
 */
import { BadInputError } from "../errors.ts";
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import { relativeDistance } from "../statistics.ts";
import type { TokenBatch } from "../data/targets.ts";
import type { PlannedModel } from "./planned_model.ts";

/** ‖change of the logits‖ / ‖logits‖ from which on the change comes from later tokens, not from rounding. */
const CHANGE = 1e-4;

/**
 * Changes the last token of every sequence, from which nothing is predicted, and compares all logits.
 *
 * @param logits the step's logits of the batch's target rows
 * @throws {BadInputError} if they change, as a masked language model's do
 */
export async function checkDirection(
  step: PlannedModel,
  batch: TokenBatch,
  logits: ArrayLike<number>,
): Promise<void> {
  const changed = toNumbers(await step.logits({ ...batch, inputIds: otherLastTokens(batch) }));
  if (changed.length === 0) return; // another stage has them
  if (relativeDistance(changed, logits) < CHANGE) return;
  throw new BadInputError(
    "Cannot train: the model is no language model: what it predicts of a token changes with the " +
      "tokens after it, as in a masked language model; graft learns texts with models that read " +
      "from left to right, and classes with encoders",
  );
}

function otherLastTokens({ inputIds, attentionMask }: TokenBatch): Tensor {
  const [sequences, length] = inputIds.dims;
  const ids = Array.from(toNumbers(inputIds), Number);
  const mask = Array.from(toNumbers(attentionMask), Number);
  for (let s = 0; s < sequences; s++) {
    const last = mask.lastIndexOf(1, (s + 1) * length - 1);
    if (last >= s * length) ids[last] = ids[last] > 0 ? ids[last] - 1 : 1;
  }
  return int64(inputIds.dims, ids);
}
