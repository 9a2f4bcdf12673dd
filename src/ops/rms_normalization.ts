/**
 * SimplifiedLayerNormalization (ONNX Runtime's, in ONNX's domain) and RMSNormalization (operator
 * set 23): y = x·r·scale with r = 1/√(mean(x²) + ε), over the last axes.
 *
 * With h = ct·scale: dx = r·h - x·r³·mean(h·x), dscale = Σ ct·x·r. The cotangent reads the input and r, which
 * is one number per row, and never the output.
 */
import { float, floatAttribute, int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { required, unsupported } from "./args.ts";
import { expandTo, mean, reduceTo, scalarLike } from "./broadcast.ts";
import { castTo } from "./cast.ts";
import { normalizedAxes, statisticDims } from "./layer_normalization.ts";
import { inferLikeInput } from "./like_input.ts";
import { rowsBefore } from "./rows.ts";
import { rowByRow } from "./traits.ts";
import type { OpRule } from "./types.ts";

/**
 * Emits a SimplifiedLayerNormalization with the inverse deviation that its cotangent reads.
 *
 * @param axis where the normalised axes begin
 * @returns the normalised value
 */
export function rmsNormalize(
  b: GraphBuilder,
  x: string,
  scale: string,
  epsilon: number,
  axis = -1,
): string {
  return b.ops("SimplifiedLayerNormalization", [x, scale], 2, {
    axis: int(axis),
    epsilon: float(epsilon),
    stash_type: int(1),
  })[0];
}

function lower(b: GraphBuilder, node: Node, needed: readonly boolean[]): readonly string[] {
  if (needed[1]) throw unsupported(node, "its output inv_std_var is used");
  const [x, scale] = node.inputs;
  const dims = b.shape(x);
  const y = rmsNormalize(
    b,
    x,
    // ONNX lets the scale broadcast; ONNX Runtime's kernel does not.
    expandTo(b, scale, dims.slice(normalizedAxes(node, dims.length)[0])),
    floatAttribute(node, "epsilon", 1e-5),
    intAttribute(node, "axis", -1),
  );
  return [y, ...node.outputs.slice(1).map(() => "")];
}

export const SimplifiedLayerNormalization: OpRule = {
  opType: "SimplifiedLayerNormalization",
  domain: "",
  since: 7,
  attributes: ["axis", "epsilon", "stash_type"],
  inputs: "2",
  outputs: "1..2",
  remark: "ONNX Runtime's own, in ONNX's domain",
  traits: rowByRow("normalization", rowsBefore("axis", -1), "cheap"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const statistics: Known = { dtype: "float32", dims: statisticDims(node, x.dims) };
    return [{ dtype: x.dtype, dims: x.dims }, statistics].slice(0, node.outputs.length);
  },
  lower: (b, node, { needed }) => lower(b, node, needed),
  vjp(b, node, [ct, ctDeviation], wanted) {
    if (ctDeviation !== undefined) throw unsupported(node, "its output inv_std_var is used");
    // The inverse deviation is float32 whatever the model's type is, and so is this.
    const [x, scale, dy] = [node.inputs[0], node.inputs[1], ct!]
      .map((value) => castTo(b, value, "float32"));
    const { dtype } = b.known(node.inputs[0]);
    const axes = normalizedAxes(node, b.dims(x).length);
    const r = node.outputs[1] ? node.outputs[1] : inverseRms(b, node, x, axes);
    let dx: string | undefined;
    if (wanted[0]) {
      const h = b.op("Mul", [dy, scale]);
      const along = mean(b, b.op("Mul", [h, x]), axes);
      const pull = b.op("Mul", [b.op("Mul", [b.op("Mul", [r, r]), r]), along]);
      dx = b.op("Sub", [b.op("Mul", [h, r]), b.op("Mul", [x, pull])]);
    }
    const dscale = wanted[1]
      ? reduceTo(b, b.op("Mul", [dy, b.op("Mul", [x, r])]), b.dims(scale))
      : undefined;
    const back = (value: string | undefined) =>
      value === undefined ? undefined : castTo(b, value, dtype);
    return [back(dx), back(dscale)];
  },
};

function inverseRms(b: GraphBuilder, node: Node, x: string, axes: readonly number[]): string {
  const epsilon = scalarLike(b, x, floatAttribute(node, "epsilon", 1e-5));
  const square = mean(b, b.op("Mul", [x, x]), axes);
  return b.op("Reciprocal", [b.op("Sqrt", [b.op("Add", [square, epsilon])])]);
}

export const RMSNormalization: OpRule = {
  opType: "RMSNormalization",
  domain: "",
  since: 23,
  attributes: ["axis", "epsilon", "stash_type"],
  inputs: "2",
  outputs: "1",
  traits: { kind: "normalization", rows: rowsBefore("axis", -1) },
  infer: inferLikeInput,
  lower: (b, node, { needed }) => lower(b, node, needed),
};
