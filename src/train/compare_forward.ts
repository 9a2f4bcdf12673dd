/**
 * Compares the lowered forward pass with the user's own graph on a real batch, before the first
 * step: what graft differentiates must be what the user's graph computes.
 */
import { relativeDistance } from "../statistics.ts";
import { firstNonFinite } from "../graph/finite.ts";
import { roundsAsItRuns, roundsByFile } from "../graph/rounded_activations.ts";
import { toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { BadInputError, RefusedError } from "../errors.ts";
import { type Runner, WITHOUT_REPACKING } from "../runtime/runner.ts";
import { evaluateModel } from "../eval/evaluate.ts";
import { HEAD } from "../lora/mod.ts";
import { isOfVirtualTokens } from "../lora/virtual_tokens/inject.ts";
import { readsBlocks, WEIGHT_BYTES_AT_ONCE } from "../plan/compared_pieces.ts";
import { hasFloat16 } from "../plan/full_precision.ts";
import { ofAll, type Peers } from "./peers.ts";
import { hasLoss } from "./pipeline.ts";
import type { PlannedModel } from "./planned_model.ts";
import { giveBackFreed } from "../system/memory.ts";
import { sliceBatch } from "../data/slice_batch.ts";
import { type RowCut, singly, together, withoutPadding } from "../data/row_cuts.ts";
import { IGNORED, targetsOf, type TokenBatch } from "../data/targets.ts";
import { checkDirection } from "./check_direction.ts";

/** Largest relative difference ‖lowered − user's‖₂ / ‖user's‖₂ of logits at which graft trains. */
export const FORWARD_TOLERANCE = 1e-3;
/** The same, if the graph rounds activations to integers by scales that it computes from them. */
export const DYNAMIC_TOLERANCE = 0.25;
/**
 * The same, if scales in the file round them, or a head or virtual tokens are new. A third is usual for a
 * model that ONNX Runtime's quantiser has calibrated (`scripts/static_minilm.py`), and training helps it no
 * less (`scripts/figures/banking77.ts --model`).
 */
const STATIC_TOLERANCE = 0.75;
/** The same, if the graph computes in 16-bit floats. */
export const HALF_TOLERANCE = 0.05;

export interface ForwardComparison {
  /** ‖lowered − user's‖₂ / ‖user's‖₂ over the logits of the batch's target rows. */
  readonly relativeDifference: number;
  readonly largestDifference: number;
  /** Whether the user's graph quantises activations as it runs, so that a difference is expected. */
  readonly dynamic: boolean;
  /** Whether the user's graph computes in 16-bit floats, so that a difference is expected too. */
  readonly half: boolean;
  readonly rows: number;
  /** Which sequences the model runs together. */
  readonly cut: RowCut;
}

/**
 * In a pipeline, the last stage alone runs the user's graph, a piece at a time.
 *
 * @param model the injected model
 * @param peers processes that compute other layers, if one does not compute all
 * @throws {RefusedError} beyond the tolerance, with the figures
 * @throws {BadInputError} if the user's graph computes NaN or infinities, or a language model sees the tokens
 *   that it predicts
 */
export async function compareForward(
  runner: Runner,
  model: Model,
  step: PlannedModel,
  batch: TokenBatch,
  peers?: Peers,
): Promise<ForwardComparison> {
  const compared = comparedPart(batch);
  const { pipeline } = peers ?? {};
  // The user's graph first, through ONNX Runtime's own mapping of the weights: that is released before the
  // other pass brings graft's mapping into memory.
  const own = hasLoss(pipeline)
    ? await usersLogits(runner, model, compared, pipeline !== undefined)
    : { users: new Float32Array(), cut: together };
  const { users } = own;
  const cut = pipeline === undefined ? own.cut : await agreedCut(own.cut, peers!);
  const lowered = new Float32Array(users.length);
  let at = 0;
  for (const part of cut(compared)) {
    const logits = toNumbers(await step.logits(part));
    lowered.set(logits, at);
    at += logits.length;
  }
  const found = hasLoss(pipeline) ? relativeDistance(lowered, users) : 0;
  const relativeDifference = pipeline === undefined
    ? found
    : Math.max(...await ofAll(peers!, found));
  const largestDifference = users.reduce(
    (most, x, i) => Math.max(most, Math.abs(lowered[i] - x)),
    0,
  );
  const byFile = roundsByFile(model.graph);
  const dynamic = byFile || roundsAsItRuns(model.graph);
  const half = hasFloat16(model.graph);
  // The scores of an untrained head are small: on some texts, the rounding error of the states behind them is
  // a large part of them. Virtual tokens begin at random values, which a model may round far worse than any
  // text.
  const isNew = step.parameters.some(({ name }) => name === HEAD.weight || isOfVirtualTokens(name));
  const tolerance = byFile || dynamic && isNew
    ? STATIC_TOLERANCE
    : dynamic
    ? DYNAMIC_TOLERANCE
    : half
    ? HALF_TOLERANCE
    : FORWARD_TOLERANCE;
  // Written so that NaN is refused too.
  if (!(relativeDifference <= tolerance)) {
    const [what, todo] = dynamic
      ? [
        "without the rounding of activations to integers, which training leaves out, the model " +
        "computes something else",
        "quantise it with ranges of data like this, or train the model in floats",
      ]
      : [
        "the lowered graph does not compute what the model computes",
        "please report the model's exporter",
      ];
    throw new RefusedError(
      `Cannot train: ${what}: relative difference of the logits must be <= ${tolerance}: ` +
        `current value is ${relativeDifference}; ${todo}`,
    );
  }
  if (compared.classIds === undefined) await checkDirection(step, compared, lowered);
  const rows = targetsOf(compared).count;
  return { relativeDifference, largestDifference, dynamic, half, rows, cut };
}

/** What the user's graph computes, and which sequences it may run together. */
async function usersLogits(
  runner: Runner,
  model: Model,
  compared: TokenBatch,
  inPieces: boolean,
): Promise<{ readonly users: Float32Array; readonly cut: RowCut }> {
  const { logits, cut } = await evaluateModel(runner, model, [compared], {
    objective: compared.classIds === undefined ? "causal" : "classification",
    logitRows: targetsOf(compared).count,
    ...(inPieces || readsBlocks(model.graph)
      ? { weightBytesAtOnce: WEIGHT_BYTES_AT_ONCE }
      : { compile: { config: WITHOUT_REPACKING } }),
  });
  giveBackFreed();
  if (logits.every(Number.isFinite)) return { users: logits, cut };
  throw new BadInputError(
    `Cannot train: the model's own logits of the first batch are no numbers${culprit(model)}`,
  );
}

/** In the order in which fewer sequences run together. */
const CUTS = [together, singly, withoutPadding];

/** The cut that is right for all processes. */
async function agreedCut(own: RowCut, peers: Peers): Promise<RowCut> {
  return CUTS[Math.max(...await ofAll(peers, CUTS.indexOf(own)))];
}

/** What to say of a model whose outputs are not finite. */
function culprit({ graph }: Model): string {
  for (const [name, value] of graph.initializers) {
    const at = firstNonFinite(value);
    if (at >= 0) return `: initializer "${name}" holds ${toNumbers(value)[at]} at element ${at}`;
  }
  return ": its file is damaged, or it overflows";
}

/** Sequences that are compared: enough to see a difference, few enough to cost next to nothing. */
const SEQUENCES = 2;
/** Target rows that are compared; each has scores for a whole vocabulary, several times over. */
const ROWS = 16;

/** The part of a batch that is compared. */
export function comparedPart(batch: TokenBatch): TokenBatch {
  return withFewTargets(sliceBatch(batch, 0, SEQUENCES));
}

/** The batch with a loss on at most {@linkcode ROWS} of its targets, spread over all of them. */
function withFewTargets(batch: TokenBatch): TokenBatch {
  const targets = batch.labels === undefined ? 0 : targetsOf(batch).count;
  if (targets <= ROWS) return batch;
  const step = targets / ROWS;
  let at = 0;
  let next = 0;
  const labels = Array.from(batch.labels!, (label, position) => {
    if (label === IGNORED || position % batch.inputIds.dims[1] === 0) return IGNORED;
    if (at++ < next) return IGNORED;
    next += step;
    return label;
  });
  return { ...batch, labels };
}
