/**
 * LayerNormalization: y = x̂·scale + bias over the last axes, x̂ = (x - mean)/√(variance + ε).
 *
 * With h = ct·scale and r = 1/√(variance + ε):
 * dx = r·(h - mean(h) - x̂·mean(h·x̂)), dscale = Σ ct·x̂, dbias = Σ ct.
 */
import { float, floatAttribute, int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import type { Node } from "../graph/types.ts";
import { required, unsupported } from "./args.ts";
import { normalizeAxis, range } from "./axes.ts";
import { mean, reduceTo, scalarLike, zeros } from "./broadcast.ts";
import { castTo } from "./cast.ts";
import { rowsBefore } from "./rows.ts";
import { rowByRow } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** The axes normalised over: from `axis` (the last by default) to the end. */
export function normalizedAxes(node: Node, rank: number): readonly number[] {
  const first = normalizeAxis(node, intAttribute(node, "axis", -1), rank);
  return range(rank).slice(first);
}

/** Shape of the statistics: the normalised axes kept as 1. */
export function statisticDims(node: Node, dims: readonly number[]): readonly number[] {
  const axes = normalizedAxes(node, dims.length);
  return asDims(extentsOf(dims).map((extent, i) => axes.includes(i) ? 1 : extent));
}

/** 1/√(variance + ε): the node's own output if it has one. */
function inverseDeviation(b: GraphBuilder, node: Node, centred: string): string {
  const own = node.outputs[2];
  if (own !== undefined && own !== "") return own;
  const axes = normalizedAxes(node, b.dims(centred).length);
  const variance = mean(b, b.op("Mul", [centred, centred]), axes);
  const epsilon = scalarLike(b, centred, floatAttribute(node, "epsilon", 1e-5));
  return b.op("Reciprocal", [b.op("Sqrt", [b.op("Add", [variance, epsilon])])]);
}

/**
 * Emits a LayerNormalization with the statistics that its cotangent reads.
 *
 * @param bias absent or "": zeros, since ONNX Runtime 1.18's AttentionFusion aborts if a normalisation
 *   without bias has readers
 * @returns the normalised value
 */
export function layerNormalize(
  b: GraphBuilder,
  x: string,
  scale: string,
  bias: string | undefined,
  epsilon: number,
  axis = -1,
): string {
  const shift = bias || zeros(b, b.known(scale).dtype, b.dims(scale));
  return b.ops("LayerNormalization", [x, scale, shift], 3, {
    axis: int(axis),
    epsilon: float(epsilon),
  })[0];
}

export const LayerNormalization: OpRule = {
  opType: "LayerNormalization",
  domain: "",
  since: 17,
  attributes: ["axis", "epsilon", "stash_type"],
  inputs: "2..3",
  outputs: "1..3",
  remark: "its first output",
  traits: rowByRow("normalization", rowsBefore("axis", -1), "cheap"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const statistics: Known = { dtype: "float32", dims: statisticDims(node, x.dims) };
    return [{ dtype: x.dtype, dims: x.dims }, statistics, statistics].slice(0, node.outputs.length);
  },
  /** Also asks for the statistics, which the cotangent needs. */
  lower(b, node, { needed }) {
    if (needed[1] || needed[2]) throw unsupported(node, "its outputs Mean and InvStdDev are used");
    const [x, scale, bias] = node.inputs;
    const y = layerNormalize(
      b,
      x,
      scale,
      bias,
      floatAttribute(node, "epsilon", 1e-5),
      intAttribute(node, "axis", -1),
    );
    return [y, ...node.outputs.slice(1).map(() => "")];
  },
  vjp(b, node, [ct, ctMean, ctDeviation], wanted) {
    if (ctMean !== undefined || ctDeviation !== undefined) {
      throw unsupported(node, "its outputs Mean and InvStdDev are used");
    }
    const [, scale, bias] = node.inputs;
    const { dtype } = b.known(node.inputs[0]);
    // Statistics are float32 whatever the model's type is, and so is what they are used with.
    const x = castTo(b, node.inputs[0], "float32");
    const dy = castTo(b, ct!, "float32");
    const axes = normalizedAxes(node, b.dims(x).length);
    const centre = node.outputs[1] ? node.outputs[1] : mean(b, x, axes);
    let dx: string | undefined;
    let dscale: string | undefined;
    if (wanted[0] || wanted[1]) {
      const centred = b.op("Sub", [x, centre]);
      const r = inverseDeviation(b, node, centred);
      const xhat = b.op("Mul", [centred, r]);
      if (wanted[1]) dscale = reduceTo(b, b.op("Mul", [dy, xhat]), b.dims(scale));
      if (wanted[0]) {
        const h = b.op("Mul", [dy, castTo(b, scale, "float32")]);
        const along = mean(b, b.op("Mul", [h, xhat]), axes);
        const inner = b.op("Sub", [
          b.op("Sub", [h, mean(b, h, axes)]),
          b.op("Mul", [xhat, along]),
        ]);
        dx = b.op("Mul", [inner, r]);
      }
    }
    const back = (value: string | undefined) =>
      value === undefined ? undefined : castTo(b, value, dtype);
    return [back(dx), back(dscale), wanted[2] ? reduceTo(b, ct!, b.dims(bias)) : undefined];
  },
};
