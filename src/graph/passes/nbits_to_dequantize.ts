/**
 * Rewrites `com.microsoft.MatMulNBits` of 4 bits as ONNX's own `DequantizeLinear` of int4 blocks and
 * `MatMul`, the form of quantised weights that TensorRT accepts. The results do not change.
 *
 * MatMulNBits stores uint4 codes [N, K], whose zero point is 8 if none is stored; TensorRT requires int4
 * with zero point 0, and blocks along the first axis of [K, N]. Sources: docs/ContribOperators.md of
 * ONNX Runtime; ONNX's DequantizeLinear-21; NVIDIA's "Working with Quantized Types".
 */
import { transposedMatrix } from "../transposed_matrix.ts";
import { int, intAttribute } from "../attributes.ts";
import { dequantizeNode, INT4_BLOCKS_SINCE } from "../dequantize_node.ts";
import type { Tensor } from "../tensor.ts";
import { readBy } from "./prune.ts";
import { type Graph, MICROSOFT, type Model, type Node } from "../types.ts";
import { verify } from "../verify.ts";

/** The rewritten model; layers with stored zero points, a bias or other bits are not changed. */
export function nbitsToDequantize(model: Model): Model {
  const { opset, irVersion } = INT4_BLOCKS_SINCE;
  if ((model.opsets[""] ?? 0) < opset || model.irVersion < irVersion) return model;
  const { graph } = model;
  const initializers = new Map(graph.initializers);
  const nodes = graph.nodes.flatMap((node) => rewritten(node, graph, initializers));
  if (nodes.length === graph.nodes.length) return model;
  const read = new Set(nodes.flatMap((node) => [...readBy(node)]));
  for (const { inputs } of graph.nodes) {
    for (const name of inputs) if (!read.has(name)) initializers.delete(name);
  }
  const sound = verify({ ...graph, nodes, initializers }, "nbitsToDequantize()");
  return { ...model, graph: sound };
}

/** @param initializers gets the constants that the nodes read */
function rewritten(node: Node, graph: Graph, initializers: Map<string, Tensor>): readonly Node[] {
  if (node.opType !== "MatMulNBits" || node.domain !== MICROSOFT) return [node];
  const [x, b, s, ...others] = node.inputs;
  const [codes, scales] = [graph.initializers.get(b), graph.initializers.get(s)];
  const [cols, rows] = [intAttribute(node, "K", 0), intAttribute(node, "N", 0)];
  const block = intAttribute(node, "block_size", 0);
  const fits = intAttribute(node, "bits", 4) === 4 && cols % block === 0 &&
    others.every((name) => name === "");
  if (codes === undefined || scales === undefined || !fits) return [node];
  const names = {
    codes: `${b}.int4`,
    scales: `${s}.transposed`,
  };
  initializers.set(names.codes, {
    dtype: "int4",
    dims: [cols, rows],
    bytes: transposedCodes(codes.bytes, rows, cols),
  });
  initializers.set(names.scales, transposedMatrix(scales, rows, cols / block));
  const dequantize = dequantizeNode(node, [names.codes, names.scales], {
    axis: int(0),
    block_size: int(block),
  });
  return [
    dequantize,
    {
      ...node,
      opType: "MatMul",
      domain: "",
      inputs: [x, dequantize.outputs[0]],
      attributes: {},
    },
  ];
}

/**
 * Converts uint4 codes [rows, cols] to int4 [cols, rows], two per byte, the even one in the low four
 * bits.
 */
function transposedCodes(bytes: Uint8Array, rows: number, cols: number): Uint8Array {
  const result = new Uint8Array(Math.ceil(rows * cols / 2));
  for (let k = 0; k < cols; k++) {
    for (let n = 0; n < rows; n++) {
      const from = n * cols + k;
      const code = from % 2 === 0 ? bytes[from >> 1] & 15 : bytes[from >> 1] >> 4;
      const to = k * rows + n;
      // c − 8 in two's complement of four bits is c with its highest bit inverted.
      result[to >> 1] |= (code ^ 8) << (to % 2 === 0 ? 0 : 4);
    }
  }
  return result;
}
