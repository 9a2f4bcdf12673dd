/** Weights in bitsandbytes' 4 bits, written here by definition. */
import { int } from "../../src/graph/attributes.ts";
import { type Codebook, CODEBOOKS } from "../../src/graph/codebook.ts";
import { float32, type Tensor, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model, Node } from "../../src/graph/types.ts";

/** A matrix in blocks: codes of W / absmax, the even one in the high half. */
export function inCodebook(
  values: ArrayLike<number>,
  codebook: Codebook,
  blockSize: number,
): { readonly codes: Tensor; readonly absmax: Tensor } {
  const levels = [...CODEBOOKS[codebook]];
  const absmax = Array.from({ length: values.length / blockSize }, (_, block) => {
    let most = 0;
    for (let i = 0; i < blockSize; i++) {
      most = Math.max(most, Math.abs(values[block * blockSize + i]));
    }
    return most;
  });
  const bytes = new Uint8Array(values.length / 2);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] / (absmax[Math.floor(i / blockSize)] || 1);
    const distances = levels.map((level) => Math.abs(level - value));
    bytes[i >> 1] |= distances.indexOf(Math.min(...distances)) << (i % 2 === 0 ? 4 : 0);
  }
  return {
    codes: tensor("uint8", [bytes.length], bytes),
    absmax: float32([absmax.length], absmax),
  };
}

/** Attributes of `com.microsoft.MatMulBnb4`. */
export const bnb4Attributes = (
  rows: number,
  columns: number,
  codebook: Codebook,
  blockSize: number,
) => ({
  K: int(columns),
  N: int(rows),
  block_size: int(blockSize),
  quant_type: int(codebook === "fp4" ? 0 : 1),
});

/** The model with MatMulBnb4 instead of MatMul wherever the weight is an initializer. */
export function withCodebook(model: Model, codebook: Codebook, blockSize = 16): Model {
  const initializers = new Map(model.graph.initializers);
  const nodes = model.graph.nodes.map((node): Node => {
    const [x, name] = node.inputs;
    const weight = model.graph.initializers.get(name);
    if (node.opType !== "MatMul" || weight?.dims.length !== 2) return node;
    const [columns, rows] = weight.dims;
    const stored = toNumbers(weight) as Float32Array;
    const transposed = Float32Array.from(
      { length: rows * columns },
      (_, i) => stored[(i % columns) * rows + Math.floor(i / columns)],
    );
    const { codes, absmax } = inCodebook(transposed, codebook, blockSize);
    initializers.delete(name);
    initializers.set(`${name}_Bnb4`, codes).set(`${name}_absmax`, absmax);
    return {
      ...node,
      opType: "MatMulBnb4",
      domain: "com.microsoft",
      inputs: [x, `${name}_Bnb4`, `${name}_absmax`],
      attributes: bnb4Attributes(rows, columns, codebook, blockSize),
    };
  });
  const opsets = { ...model.opsets, "com.microsoft": 1 };
  return { ...model, opsets, graph: { ...model.graph, nodes, initializers } };
}
