/**
 * graft.Rotation: rotations that spread outliers before rounding: blocks of the last axis times a Hadamard
 * matrix.
 *
 * A row with one large entry is rounded with a large step; after x·H each entry of a block holds a share of
 * it, the largest is nearer to the others, and the step is smaller. H is orthogonal and symmetric (H·H = 1),
 * so (x·H)·(H·Wᵀ) = x·Wᵀ, and the same product rotates cotangents back. As an operator of its own it is
 * differentiated like any other: products that read one rotated activation add their cotangents first, and
 * the sum is rotated once.
 *
 * Source: QuIP# (Tseng et al., arXiv:2402.04396) and QuaRot (Ashkboos et al., arXiv:2404.00456).
 */
import { int, intAttribute } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { over, productOf } from "../../graph/extent_arithmetic.ts";
import { float32, type Tensor } from "../../graph/tensor.ts";
import { GRAFT } from "../../graph/types.ts";
import { shared } from "../contrib/support.ts";
import { label, required } from "../args.ts";
import { rowsOfFirst } from "../rows.ts";
import { rowByRow } from "../traits.ts";
import type { OpRule } from "../types.ts";

/**
 * Largest block. On SmolLM2-135M 32 leaves less gradient error than 16 or 64 (`scripts/figures/rotation.ts`):
 * it is the size of the model's blocks of 4-bit weights, whose integers share a scale.
 */
const LARGEST_BLOCK = 32;

/** Block size for an axis: the largest power of two up to 32 that divides it; 1 for none. */
export function rotationBlock(width: number): number {
  let block = LARGEST_BLOCK;
  while (width % block !== 0) block /= 2;
  return block;
}

/** The node without its outputs: x with each block of its last axis rotated. */
export function rotationNode(x: string, block: number) {
  return { opType: "Rotation", domain: GRAFT, inputs: [x], attributes: { block: int(block) } };
}

export const Rotation: OpRule = {
  opType: "Rotation",
  domain: GRAFT,
  since: 1,
  attributes: ["block"],
  inputs: "1",
  outputs: "1",
  traits: rowByRow("rotation", rowsOfFirst, "costly"),

  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    const block = intAttribute(node, "block", 1);
    const width = dims.at(-1) ?? 1;
    if (width % block !== 0) {
      throw new RangeError(
        `${label(node)} needs a block that divides the last axis: current size is ${block} on an ` +
          `axis of ${width}`,
      );
    }
    return [{ dtype, dims }];
  },

  vjp(b, node, [ct]) {
    return [b.emit({ ...rotationNode(ct!, intAttribute(node, "block", 1)), outputCount: 1 })[0]];
  },

  expand(b, node) {
    const [x] = node.inputs;
    const rotated = rotatedBlocks(b, x, intAttribute(node, "block", 1));
    b.emit({
      opType: "Reshape",
      domain: "",
      inputs: [rotated, b.int64s(b.dims(x))],
      attributes: {},
      outputs: node.outputs,
    });
  },
};

/**
 * Emits x with each block of its last axis rotated, in standard ONNX operators; for a block of 1, x itself.
 */
export function rotate(b: GraphBuilder, x: string, block: number): string {
  return block === 1 ? x : b.reshape(rotatedBlocks(b, x, block), b.dims(x));
}

/** The same with one block per row: [elements / block, block]. */
function rotatedBlocks(b: GraphBuilder, x: string, block: number): string {
  const matrix = shared(
    b,
    `rotation ${block}`,
    () => b.constant(rotationMatrix(block), `rotation_${block}`),
  );
  return b.op("MatMul", [b.reshape(x, [over(productOf(b.shape(x)), block)!, block]), matrix]);
}

const matrices = new Map<number, Tensor>();

function rotationMatrix(block: number): Tensor {
  const found = matrices.get(block) ?? float32([block, block], hadamard(block));
  matrices.set(block, found);
  return found;
}

/** Sylvester's matrix, normalised: H[i][j] = (−1)^(number of bits that i and j share) / √n. */
export function hadamard(n: number): Float32Array {
  return Float32Array.from({ length: n * n }, (_, at) => {
    let common = Math.floor(at / n) & (at % n);
    let sign = 1;
    for (; common !== 0; common >>= 1) if (common & 1) sign = -sign;
    return sign / Math.sqrt(n);
  });
}
