/** A graph that sums x·xᵀ over the inputs of linear layers. */
import { int } from "../../graph/attributes.ts";
import { ONNX_TYPE } from "../../graph/dtype.ts";
import { prune } from "../../graph/passes/prune.ts";
import { int64 } from "../../graph/tensor.ts";
import type { Model, ValueInfo } from "../../graph/types.ts";
import { GraphEdit } from "../edit.ts";
import { indexGraph } from "../graph_index.ts";
import type { GramRequest } from "./merge.ts";

/** Names of the input and output with the running sum of one value's Gram matrix. */
export interface GramNames extends GramRequest {
  /** Graph input, float32 [cols, cols]. */
  readonly before: string;
  /** Graph output: `before` + Xᵀ·X over all rows of the value. */
  readonly after: string;
}

/**
 * The part of a graph that computes some values, with XᵀX of each added to a running sum.
 *
 * All rows of a value have the same weight, so batches must not be padded.
 *
 * @param also further values to return, after the sums
 * @throws {RangeError} for a value that no node computes
 */
export function withGramOutputs(
  model: Model,
  requests: readonly GramRequest[],
  also: readonly string[] = [],
): { readonly model: Model; readonly grams: readonly GramNames[] } {
  const edit = new GraphEdit(model.graph);
  const index = indexGraph(model.graph);
  const outputs: ValueInfo[] = [];
  const grams = requests.map(({ value, cols }, i) => {
    const anchor = index.producer(value);
    const isInput = model.graph.inputs.some(({ name }) => name === value);
    if (anchor === undefined && !isInput) throw new RangeError(`No node makes "${value}"`);
    const type = { dtype: "float32", shape: [cols, cols] } as const;
    const before = edit.input({ name: `gram.${i}.before`, type });
    const op = (opType: string, inputs: readonly string[], name: string, attributes = {}) =>
      edit.add(anchor, opType, inputs, edit.name(`gram.${i}.${name}`), attributes);
    const exact = op("Cast", [value], "float", { to: int(ONNX_TYPE.float32) });
    const shape = edit.initializer(`gram.${i}.shape`, int64([2], [-1, cols]));
    const rows = op("Reshape", [exact, shape], "rows");
    const after = op("Gemm", [rows, rows, before], "after", { transA: int(1) });
    outputs.push({ name: after, type });
    return { value, cols, before, after };
  });
  outputs.push(...also.map((name) => model.graph.valueInfo.get(name) ?? { name }));
  const edited = edit.apply(model);
  return { model: { ...edited, graph: prune({ ...edited.graph, outputs }) }, grams };
}
