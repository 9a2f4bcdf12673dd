/**
 * A language model's graph with its loss: what runs is the user's own graph, with the logits of the
 * target rows compared with their labels inside the runtime, so that no logits of whole batches
 * cross or are kept.
 */
import { int64 } from "../graph/tensor.ts";
import type { Model, Node, ValueInfo } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";
import { hasFloat16 } from "../plan/full_precision.ts";
import { selectTargetRows, TARGET_ROWS } from "../plan/select_rows.ts";
import { LABELS } from "../plan/names.ts";

/** Output float32 [rows]: the loss of each target row, in nats. */
export const ROW_LOSSES = "row_losses";
/** Output float32 [rows, vocabulary]: logits of the target rows. */
export const ROW_LOGITS = "row_logits";

/**
 * Adds inputs `target_rows` (positions in the flattened [batch · length]) and `labels`, int64 [rows],
 * and the outputs {@linkcode ROW_LOSSES} and {@linkcode ROW_LOGITS}, of others only what must be held.
 */
export function withLoss(model: Model): Model {
  const selected = selectTargetRows(model.graph, "logits");
  const graph = selected ?? model.graph;
  const nodes: Node[] = [...graph.nodes];
  const initializers = new Map(graph.initializers);
  const inputs: ValueInfo[] = [...graph.inputs];
  const constant = (name: string, dims: readonly number[], values: readonly number[]) => {
    initializers.set(name, int64(dims, values));
    return name;
  };
  const add = (opType: string, from: readonly string[], output: string, attributes = {}) => {
    nodes.push({ name: output, opType, domain: "", inputs: from, outputs: [output], attributes });
    return output;
  };
  const rows = { dtype: "int64", shape: ["target_rows"] } as const;
  let logits = "logits";
  if (selected === undefined) {
    inputs.push({ name: TARGET_ROWS, type: rows });
    const vocabulary = graph.outputs.find(({ name }) => name === logits)?.type?.shape?.at(-1);
    if (typeof vocabulary !== "number") {
      throw new RangeError("Cannot evaluate: the model does not say how large its vocabulary is");
    }
    const flat = add(
      "Reshape",
      [logits, constant("logits.flat_shape", [2], [-1, vocabulary])],
      "logits.flat",
    );
    logits = add("Gather", [flat, TARGET_ROWS], "logits.rows", { axis: { kind: "int", value: 0 } });
  }
  // Precision of the loss is float32 whatever the model computes in.
  const picked = add("Cast", [logits], ROW_LOGITS, { to: { kind: "int", value: 1 } });
  inputs.push({ name: LABELS, type: rows });
  const log = add("LogSoftmax", [picked], "row_log_probabilities", {
    axis: { kind: "int", value: -1 },
  });
  const index = add(
    "Reshape",
    [LABELS, constant("labels.column", [2], [-1, 1])],
    "labels.as_column",
  );
  const own = add("GatherElements", [log, index], "row_own", { axis: { kind: "int", value: 1 } });
  const flatOwn = add("Reshape", [own, constant("labels.flat", [1], [-1])], "row_own_flat");
  add("Neg", [flatOwn], ROW_LOSSES);
  return {
    ...model,
    graph: verify({
      ...graph,
      nodes,
      inputs,
      initializers,
      outputs: [
        { name: ROW_LOSSES, type: { dtype: "float32", shape: ["target_rows"] } },
        { name: ROW_LOGITS, type: { dtype: "float32", shape: ["target_rows", "vocabulary"] } },
        ...heldCaches(graph),
      ],
    }, "withLoss()"),
  };
}

/**
 * Outputs that stay though nothing reads them. A graph in 16-bit floats gets Casts around attention
 * where a processor has no kernel for it, and ONNX Runtime then puts new keys and values into what
 * the Cast made of the empty cache, which is too small: outputs get memory of their own.
 */
function heldCaches(graph: Model["graph"]): readonly ValueInfo[] {
  return hasFloat16(graph) ? graph.outputs.filter(({ name }) => name !== "logits") : [];
}
