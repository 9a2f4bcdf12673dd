/** Zero points for weights of 4 bits that have none. */
import { intAttribute } from "../../src/graph/attributes.ts";
import { type Tensor, tensor } from "../../src/graph/tensor.ts";
import type { Model, Node } from "../../src/graph/types.ts";

/** Bytes that differ from each other and from what stands for no zero point. */
const bytes = (count: number) =>
  Uint8Array.from({ length: count }, (_, i) => (i * 53 + 0x69) % 256);

/**
 * The model with a zero point for each block of MatMulNBits and of DequantizeLinear of int4, as ONNX
 * Runtime's quantisers write them: its weights are others then.
 */
export function withZeroPoints(model: Model): Model {
  const initializers = new Map(model.graph.initializers);
  const nodes = model.graph.nodes.map((node): Node => {
    const zeros = zeroPointsOf(node, model.graph.initializers);
    if (zeros === undefined || node.inputs[3] || node.opType !== "MatMulNBits" && node.inputs[2]) {
      return node;
    }
    const name = `${node.inputs[1]}_zero_points`;
    initializers.set(name, zeros);
    const at = node.opType === "MatMulNBits" ? 3 : 2;
    return { ...node, inputs: [...node.inputs.slice(0, at), name, ...node.inputs.slice(at + 1)] };
  });
  return { ...model, graph: { ...model.graph, nodes, initializers } };
}

function zeroPointsOf(node: Node, initializers: ReadonlyMap<string, Tensor>): Tensor | undefined {
  if (node.opType === "MatMulNBits") {
    const [rows, blocks] = initializers.get(node.inputs[2])!.dims;
    const rowBytes = Math.ceil(blocks * intAttribute(node, "bits", 4) / 8);
    return tensor("uint8", [rows, rowBytes], bytes(rows * rowBytes));
  }
  if (node.opType !== "DequantizeLinear") return undefined;
  const codes = initializers.get(node.inputs[0]);
  if (codes?.dtype !== "int4" && codes?.dtype !== "uint4") return undefined;
  const { dims } = initializers.get(node.inputs[1])!;
  return tensor(codes.dtype, dims, bytes(Math.ceil(dims[0] * dims[1] / 2)));
}
