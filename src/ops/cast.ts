/** Cast and CastLike: another element type. */
import { int, intAttribute } from "../graph/attributes.ts";
import { type DataType, dataTypeOf, isFloating, ONNX_TYPE } from "../graph/dtype.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { holdsWholes } from "../graph/extents.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { label, required, unsupported } from "./args.ts";
import { foldElementwise } from "./fold.ts";
import { elementwise } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** The value as another element type; the value itself if it has that type. */
export function castTo(b: GraphBuilder, value: string, dtype: DataType): string {
  return b.known(value).dtype === dtype
    ? value
    : b.op("Cast", [value], { to: int(ONNX_TYPE[dtype]) });
}

function target(node: Node): DataType {
  const number = intAttribute(node, "to", undefined);
  if (number === undefined) throw new SyntaxError(`${label(node)} needs attribute "to"`);
  const dtype = dataTypeOf(number);
  if (dtype === undefined) throw unsupported(node, `graft knows no element type number ${number}`);
  return dtype;
}

const convert = (from: DataType, to: DataType) => (x: number): number => {
  if (to === "bool") return Number(x !== 0);
  return isFloating(from) && !isFloating(to) ? Math.trunc(x) : x;
};

/** Integers keep their values, except as bool. */
const extentTo = (to: DataType) => holdsWholes(to) ? (x: Extent) => x : undefined;

export const Cast: OpRule = {
  opType: "Cast",
  domain: "",
  since: 7,
  // The last two concern 8-bit floats only.
  attributes: ["to", "round_mode", "saturate"],
  inputs: "1",
  outputs: "1",
  traits: elementwise("other", "cheap"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const to = target(node);
    if (x.dtype === to) return [x];
    return [foldElementwise(to, x.dims, [x], convert(x.dtype, to), extentTo(to))];
  },
  lower: (b, node) => [castTo(b, node.inputs[0], target(node))],
  /** No gradient flows through integers. */
  vjp(b, node, [ct]) {
    const from = b.known(node.inputs[0]).dtype;
    return [isFloating(from) && isFloating(target(node)) ? castTo(b, ct!, from) : undefined];
  },
};

export const CastLike: OpRule = {
  opType: "CastLike",
  domain: "",
  since: 15,
  // Both concern 8-bit floats only.
  attributes: ["round_mode", "saturate"],
  inputs: "2",
  outputs: "1",
  traits: { kind: "other", rows: "mixed" },
  infer(node, inputs) {
    const [x, like] = [required(node, inputs, 0), required(node, inputs, 1)];
    if (x.dtype === like.dtype) return [x];
    const fold = convert(x.dtype, like.dtype);
    return [foldElementwise(like.dtype, x.dims, [x], fold, extentTo(like.dtype))];
  },
  lower: (b, node) => [castTo(b, node.inputs[0], b.known(node.inputs[1]).dtype)],
};
