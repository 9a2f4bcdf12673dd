/**
 * The end of a step: the last segment, the loss over target rows, and the last segment's backward pass, in
 * one call.
 *
 * Loss: L = Σ_r w_r (log Σ_v exp(l_rv) − l_r,label(r)); its derivative with respect to the logits is w_r
 * (softmax(l_r) − onehot(label(r))).
 */
import type { GraphBuilder } from "../graph/builder.ts";
import { productOf } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { builderOver, callOf, type PlannedCall } from "./call.ts";
import type { Segment } from "./cut.ts";
import { gradients, type PlanContext } from "./segment_calls.ts";
import { LABELS, LOGITS, LOSS, ROW_WEIGHTS } from "./names.ts";
import { TARGET_ROWS } from "./select_rows.ts";

/** Computes the loss, the gradients of the last segment and the cotangent of its input. */
export function tailCall(
  context: PlanContext,
  segment: Segment,
  rows: Extent,
  wantInput: boolean,
): PlannedCall {
  const b = builderOver(context, segment.nodes);
  const { logits, logProbabilities, loss } = lossOver(b, context, segment, rows);
  const weights = b.op("Unsqueeze", [ROW_WEIGHTS, b.int64s([1])]);
  const index = b.op("Unsqueeze", [LABELS, b.int64s([1])]);
  const minusOne = b.op("Expand", [b.scalar(-1), b.int64s([rows, 1])]);
  const difference = b.op(
    "ScatterElements",
    [b.op("Exp", [logProbabilities]), index, minusOne],
    { axis: { kind: "int", value: 1 }, reduction: { kind: "string", value: "add" } },
  );
  const seed = b.op("Mul", [difference, weights]);
  const full = logits.backTo(b, seed);
  const outputs = gradients(b, context, segment, new Map([[segment.output, full]]), wantInput);
  return callOf(b, "loss and its gradient", new Map([[loss, LOSS], ...outputs]), {
    passControl: context.passControl,
  });
}

/** Computes the loss and the logits only. */
export function evaluationTailCall(
  context: PlanContext,
  segment: Segment,
  rows: Extent,
): PlannedCall {
  const b = builderOver(context, segment.nodes);
  const { logits, loss } = lossOver(b, context, segment, rows);
  const { passControl } = context;
  return callOf(b, "loss", new Map([[loss, LOSS], [logits.value, LOGITS]]), { passControl });
}

function lossOver(b: GraphBuilder, context: PlanContext, segment: Segment, rows: Extent) {
  const logits = targetLogits(b, context, segment.output, rows);
  b.input(LABELS, "int64", [rows]);
  b.input(ROW_WEIGHTS, "float32", [rows]);
  const logProbabilities = b.op("LogSoftmax", [logits.value], { axis: { kind: "int", value: 1 } });
  const picked = b.op(
    "GatherElements",
    [logProbabilities, b.op("Unsqueeze", [LABELS, b.int64s([1])])],
    { axis: { kind: "int", value: 1 } },
  );
  const weighted = b.op("Mul", [
    b.reshape(picked, [rows]),
    ROW_WEIGHTS,
  ]);
  const loss = b.op("Neg", [
    b.op("ReduceSum", [weighted, b.int64s([0])], { keepdims: { kind: "int", value: 0 } }),
  ]);
  return { logits, logProbabilities, loss };
}

/**
 * Logits as [rows, classes], and a function that takes a cotangent of them back to the graph's own output.
 */
function targetLogits(b: GraphBuilder, context: PlanContext, output: string, rows: Extent) {
  const dims = b.shape(output);
  const classes = dims[dims.length - 1];
  const all = productOf(dims.slice(0, -1));
  const flat = b.reshape(output, [all, classes]);
  if (!context.pickRows) {
    return { value: flat, backTo: (b: GraphBuilder, ct: string) => b.reshape(ct, dims) };
  }
  // The head could not be restricted to target rows: pick them from all logits.
  const picked = b.input(TARGET_ROWS, "int64", [rows]);
  return {
    value: b.op("Gather", [flat, picked], { axis: { kind: "int", value: 0 } }),
    backTo: (b: GraphBuilder, ct: string) => {
      const zeros = b.op("Expand", [b.scalar(0), b.int64s([all, classes])]);
      const index = b.op("Unsqueeze", [picked, b.int64s([1])]);
      const scattered = b.op("ScatterND", [zeros, index, ct], {
        reduction: { kind: "string", value: "add" },
      });
      return b.reshape(scattered, dims);
    },
  };
}
