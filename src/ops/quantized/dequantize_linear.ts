/**
 * DequantizeLinear, ONNX's and ONNX Runtime's: (x - zeroPoint) · scale, per tensor, per channel or
 * per block.
 *
 * Training keeps the node, so that weights stay quantised in memory. Its input holds integers, so
 * no gradient passes.
 */
import { intAttribute } from "../../graph/attributes.ts";
import { dataTypeOf } from "../../graph/dtype.ts";
import { elementCount, float32, toNumbers } from "../../graph/tensor.ts";
import { MICROSOFT, type Node } from "../../graph/types.ts";
import { folded } from "../fold.ts";
import type { OpRule } from "../types.ts";
import { cast, onlyAttributes, requiredKnown } from "../contrib/support.ts";

/** The axis from the front. */
function quantizationAxis(node: Node, rank: number): number {
  const axis = intAttribute(node, "axis", 1);
  return axis < 0 ? axis + rank : axis;
}

/** Throws where scales do not fit the tensor they quantise. */
export function checkScales(
  node: Node,
  dims: readonly number[],
  scale: readonly number[],
): void {
  if (elementCount(scale) === 1 && scale.length <= 1) return;
  const axis = quantizationAxis(node, dims.length);
  const block = intAttribute(node, "block_size", 0);
  const fits = block === 0
    ? scale.length === 1 && scale[0] === dims[axis]
    : scale.length === dims.length &&
      scale.every((dim, i) => dim === (i === axis ? Math.ceil(dims[i] / block) : dims[i]));
  if (!fits) {
    throw new RangeError(
      `Scales of ${node.opType} "${node.name}" do not fit: the tensor is [${dims}], axis ${axis}, block_size ${block}: current shape is [${scale}]`,
    );
  }
}

const rule = (domain: string): OpRule => ({
  opType: "DequantizeLinear",
  domain,
  since: domain === "" ? 10 : 1,

  infer(node, inputs) {
    const x = requiredKnown(node, "x", inputs, 0);
    const scale = requiredKnown(node, "x_scale", inputs, 1);
    checkScales(node, x.dims, scale.dims);
    const asked = dataTypeOf(intAttribute(node, "output_dtype", 0));
    const dtype = asked ?? scale.dtype;
    if (dtype !== "float32" || elementCount(scale.dims) !== 1) return [{ dtype, dims: x.dims }];
    return [folded(dtype, x.dims, inputs, (values) => {
      const [data, [factor], [zero]] = [
        toNumbers(values[0]),
        toNumbers(values[1]),
        values[2] === undefined ? [0] : toNumbers(values[2]),
      ];
      return float32(x.dims, Array.from(data, (v) => Math.fround(v - zero) * factor));
    })];
  },

  lower(b, node) {
    onlyAttributes(node, ["axis", "block_size", "output_dtype"]);
    if (domain === "" && node.attributes.output_dtype === undefined) return undefined;
    const attributes = { ...node.attributes };
    delete attributes.output_dtype;
    // Without an axis ONNX Runtime's own operator is per tensor, where ONNX's axis does not matter.
    const y = b.op("DequantizeLinear", node.inputs, attributes);
    const asked = dataTypeOf(intAttribute(node, "output_dtype", 0));
    return [asked === undefined ? y : cast(b, y, asked)];
  },

  vjp: (_b, node) => node.inputs.map(() => undefined),
});

export const dequantizeLinear: OpRule = rule("");
export const microsoftDequantizeLinear: OpRule = rule(MICROSOFT);
