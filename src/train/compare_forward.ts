/**
 * Compares the lowered forward pass with the user's own graph on a real batch, before the first
 * step: what graft differentiates must be what the user's graph computes.
 */
import { toNumbers } from "../graph/tensor.ts";
import { intAttribute } from "../graph/attributes.ts";
import type { Graph, Model } from "../graph/types.ts";
import { RefusedError } from "../errors.ts";
import type { Runner } from "../runtime/runner.ts";
import { runOn } from "../eval/evaluate.ts";
import type { PlannedModel } from "./planned_model.ts";
import { targetsOf, type TokenBatch } from "./targets.ts";

/** Largest relative difference ‖lowered − user's‖₂ / ‖user's‖₂ of logits that graft trains through. */
export const FORWARD_TOLERANCE = 1e-3;
/** The same where the graph rounds activations to 8 bits as it runs. */
export const DYNAMIC_TOLERANCE = 0.25;

export interface ForwardComparison {
  /** ‖lowered − user's‖₂ / ‖user's‖₂ over the logits of the batch's target rows. */
  readonly relativeDifference: number;
  readonly largestDifference: number;
  /** Whether the user's graph quantises activations as it runs, so that a difference is expected. */
  readonly dynamic: boolean;
  readonly rows: number;
}

/**
 * @param model the injected model as it runs at inference
 * @throws {RefusedError} beyond the tolerance, with the figures
 */
export async function compareForward(
  runner: Runner,
  model: Model,
  step: PlannedModel,
  batch: TokenBatch,
): Promise<ForwardComparison> {
  const lowered = toNumbers(await step.logits(batch));
  const users = await usersLogits(runner, model, batch);
  let difference = 0;
  let norm = 0;
  let largestDifference = 0;
  for (let i = 0; i < users.length; i++) {
    const d = Math.abs(lowered[i] - users[i]);
    difference += d * d;
    norm += users[i] * users[i];
    largestDifference = Math.max(largestDifference, d);
  }
  const relativeDifference = Math.sqrt(difference / norm);
  const dynamic = quantizesActivations(model.graph);
  const tolerance = dynamic ? DYNAMIC_TOLERANCE : FORWARD_TOLERANCE;
  const rows = targetsOf(batch, 1).count;
  // Written so that NaN is refused too.
  if (!(relativeDifference <= tolerance)) {
    throw new RefusedError(
      "Cannot train: the lowered graph does not compute what the model computes: relative " +
        `difference of the logits must be <= ${tolerance}: current value is ${relativeDifference}` +
        `; please report the model's exporter`,
    );
  }
  return { relativeDifference, largestDifference, dynamic, rows };
}

/** Whether activations are rounded to 8 bits at run time, with scales that depend on the batch. */
export function quantizesActivations(graph: Graph): boolean {
  return graph.nodes.some((node) =>
    node.opType === "DynamicQuantizeLinear" || node.opType === "DynamicQuantizeMatMul" ||
    (node.opType === "MatMulNBits" && intAttribute(node, "accuracy_level", 0) === 4)
  );
}

/** Logits of the batch's target rows by the user's graph, row-major. */
async function usersLogits(
  runner: Runner,
  model: Model,
  batch: TokenBatch,
): Promise<Float32Array> {
  // Loading without repacked weights is slower to run and far smaller: it runs once.
  using executable = await runner.compile(model, {
    label: "the model's own graph",
    config: { "session.disable_prepacking": "1" },
  });
  const { logits, ...others } = await runOn(runner, executable, model.graph, batch, new Map());
  for (const other of Object.values(others)) other[Symbol.dispose]();
  using held = logits;
  const all = toNumbers(held.read()) as Float32Array;
  const classes = held.dims[held.dims.length - 1];
  const targets = targetsOf(batch, 1);
  const out = new Float32Array(targets.count * classes);
  for (let row = 0; row < targets.count; row++) {
    const position = targets.positions?.[row] ?? row;
    out.set(all.subarray(position * classes, (position + 1) * classes), row * classes);
  }
  return out;
}
