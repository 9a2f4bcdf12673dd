/** A layer's product with other rows than its input. */
import { int, intAttribute } from "../graph/attributes.ts";
import { ONNX_TYPE } from "../graph/dtype.ts";
import { fusedAttentionInputs, isFusedAttention } from "../graph/fused_attention.ts";
import type { Node } from "../graph/types.ts";
import type { GraphEdit } from "./edit.ts";
import type { LinearForm } from "./linear_form.ts";
import { opsAfter } from "./low_rank_parts.ts";

/** Where nodes are added, and under which names. */
export interface Place {
  readonly edit: GraphEdit;
  /** Node after which they are added. */
  readonly anchor: Node | undefined;
  /** Prefix of the names of their values. */
  readonly scope: string;
}

const TRANSPOSE = { perm: { kind: "ints", value: [1, 0] } } as const;

/**
 * W·xᵀ of a layer, without its bias, by the layer's own operator: training then dequantises the stored
 * weight once for both products.
 *
 * @param x of the layer's type, [rows, in]
 * @returns [out, rows], with all outputs of a fused layer
 */
export function ownProduct(place: Place, call: LinearForm, x: string): string {
  const { node, kind } = call;
  const op = opsAfter(place, place.anchor);
  if (node.opType === "Gemm" && intAttribute(node, "transB", 0) !== 0) {
    return op("MatMul", [node.inputs[1], op("Transpose", [x], "own_input_T", TRANSPOSE)], "own");
  }
  const transposed = (product: string) => op("Transpose", [product], "own_T", TRANSPOSE);
  switch (kind) {
    case "MatMulNBits":
      return transposed(sameOperator(place, node, [x, ...node.inputs.slice(1, 4)]));
    case "MatMulBnb4":
      return transposed(sameOperator(place, node, [x, ...node.inputs.slice(1, 3)]));
    case "MatMulInteger":
      return transposed(
        node.opType === "DynamicQuantizeMatMul"
          ? sameOperator(place, node, [x, ...node.inputs.slice(1, 4)])
          : integerProduct(place, call, x),
      );
    default:
      return transposed(op("MatMul", [x, weightOf(node)], "own"));
  }
}

const weightOf = (node: Node) =>
  isFusedAttention(node) ? fusedAttentionInputs(node).weight : node.inputs[1];

/** The node with other inputs, and without a level that lets kernels round them. */
function sameOperator({ edit, anchor, scope }: Place, node: Node, inputs: readonly string[]) {
  const { accuracy_level: _, ...attributes } = node.attributes;
  const output = edit.name(`${scope}.own`);
  const { opType, domain } = node;
  edit.insert(anchor, { name: output, opType, domain, inputs, outputs: [output], attributes });
  return output;
}

/** The product of dynamically quantised rows, as exporters write it out. */
function integerProduct(place: Place, { weight, scales, zeroPoints }: LinearForm, x: string) {
  const { edit, anchor, scope } = place;
  const op = opsAfter(place, anchor);
  const outputs = ["codes", "scale", "zero_point"].map((name) => edit.name(`${scope}.own_${name}`));
  const [codes, scale, zeroPoint] = outputs;
  const inputs = [x];
  edit.insert(anchor, {
    ...{ name: codes, opType: "DynamicQuantizeLinear", domain: "" },
    ...{ inputs, outputs, attributes: {} },
  });
  const points = zeroPoints === undefined ? [] : [zeroPoints];
  const integers = op("MatMulInteger", [codes, weight, zeroPoint, ...points], "own_integers");
  const floats = op("Cast", [integers], "own_floats", { to: int(ONNX_TYPE.float32) });
  return op("Mul", [floats, op("Mul", [scale, scales!], "own_scales")], "own");
}
