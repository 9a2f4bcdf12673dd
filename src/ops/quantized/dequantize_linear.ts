/**
 * DequantizeLinear, ONNX's and ONNX Runtime's: (x - zeroPoint) · scale, per tensor, per channel or
 * per block.
 *
 * Training keeps the node, so that weights stay quantised in memory. Its input holds integers, so
 * no gradient passes to it; that of a scale is the sum over what it scales:
 *
 *     dL/ds = Σ dL/dy · (x − zeroPoint).
 */
import { int, intAttribute } from "../../graph/attributes.ts";
import { extentsOf } from "../../graph/extents.ts";
import { areEqual, productOf } from "../../graph/extent_arithmetic.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { dataTypeOf } from "../../graph/dtype.ts";
import { elementCount, float32, toNumbers } from "../../graph/tensor.ts";
import { MICROSOFT, type Node } from "../../graph/types.ts";
import { folded } from "../fold.ts";
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { castTo } from "../cast.ts";
import { refuse, requiredKnown, shared } from "../contrib/support.ts";

/** The axis, counted from the front. */
function quantizationAxis(node: Node, rank: number): number {
  const axis = intAttribute(node, "axis", 1);
  return axis < 0 ? axis + rank : axis;
}

/** Throws if scales do not fit the tensor that they quantise. */
export function checkScales(
  node: Node,
  dims: readonly number[],
  scale: readonly number[],
): void {
  if (productOf(extentsOf(scale)) === 1 && scale.length <= 1) return;
  const axis = quantizationAxis(node, dims.length);
  const block = intAttribute(node, "block_size", 0);
  const fits = block === 0
    ? scale.length === 1 && areEqual(extentsOf(scale)[0], extentsOf(dims)[axis])
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
  attributes: ["axis", "block_size", "output_dtype"],
  inputs: "2..3",
  outputs: "1",
  traits: mixed("dequantization"),

  infer(node, inputs) {
    const x = requiredKnown(node, "x", inputs, 0);
    const scale = requiredKnown(node, "x_scale", inputs, 1);
    checkScales(node, x.dims, scale.dims);
    const asked = dataTypeOf(intAttribute(node, "output_dtype", 0));
    const dtype = asked ?? scale.dtype;
    if (dtype !== "float32" || productOf(extentsOf(scale.dims)) !== 1) {
      return [{ dtype, dims: x.dims }];
    }
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
    if (domain === "" && node.attributes.output_dtype === undefined) return undefined;
    const attributes = { ...node.attributes };
    delete attributes.output_dtype;
    // Without an axis ONNX Runtime's own operator is per tensor, where ONNX's axis does not matter.
    const y = b.op("DequantizeLinear", node.inputs, attributes);
    const asked = dataTypeOf(intAttribute(node, "output_dtype", 0));
    return [asked === undefined ? y : castTo(b, y, asked)];
  },

  vjp(b, node, [ct], wanted) {
    const none: (string | undefined)[] = node.inputs.map(() => undefined);
    return wanted[1] ? none.with(1, scaleCotangent(b, node, ct!)) : none;
  },
});

/** The cotangent of the scales: the operator itself with scales of 1, times `ct`, summed. */
function scaleCotangent(b: GraphBuilder, node: Node, ct: string): string {
  const [x, scale, ...zero] = node.inputs;
  const { dims, dtype } = b.known(scale);
  const ones = shared(b, `ones ${dtype} ${dims}`, () => {
    const values = float32(dims, new Float32Array(elementCount(dims)).fill(1));
    return castTo(b, b.constant(values, "ones"), dtype);
  });
  const codes = b.op("DequantizeLinear", [x, ones, ...zero], node.attributes);
  const products = b.op("Mul", [ct, codes]);
  const size = b.dims(x);
  const axis = quantizationAxis(node, size.length);
  const block = intAttribute(node, "block_size", 0);
  if (block === 0) {
    const perTensor = elementCount(dims) === 1 && size[axis] !== 1;
    const axes = size.flatMap((_, i) => i === axis && !perTensor ? [] : [i]);
    const sum = b.op("ReduceSum", [products, b.int64s(axes)], { keepdims: int(0) });
    return b.reshape(sum, dims);
  }
  if (size[axis] % block !== 0) {
    refuse(node, `scales that change over blocks of ${block} which ${size[axis]} does not fill`);
  }
  const blocked = [...dims.slice(0, axis + 1), block, ...dims.slice(axis + 1)];
  const apart = b.reshape(products, blocked);
  return b.op("ReduceSum", [apart, b.int64s([axis + 1])], { keepdims: int(0) });
}

export const DequantizeLinear: OpRule = rule("");
export const MicrosoftDequantizeLinear: OpRule = rule(MICROSOFT);
