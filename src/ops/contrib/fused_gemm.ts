/** com.microsoft.FusedGemm: Gemm and an activation. */
import { intAttribute, stringAttribute } from "../../graph/attributes.ts";
import { asDims, extentsOf } from "../../graph/extents.ts";
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { refuse, requiredKnown } from "./support.ts";

/** Activations without parameters, which are ONNX operators of the same name. */
const ACTIVATIONS = ["", "Relu", "Sigmoid", "Tanh"];

export const FusedGemm: OpRule = {
  opType: "FusedGemm",
  domain: MICROSOFT,
  since: 1,
  attributes: ["alpha", "beta", "transA", "transB", "activation"],
  inputs: "2..3",
  outputs: "1",
  remark: "activations Relu, Sigmoid and Tanh",
  traits: { kind: "product", rows: "mixed" },

  infer(node, inputs) {
    const a = requiredKnown(node, "A", inputs, 0);
    const b = requiredKnown(node, "B", inputs, 1);
    return [{
      dtype: a.dtype,
      dims: asDims([
        extentsOf(a.dims)[intAttribute(node, "transA", 0) ? 1 : 0],
        extentsOf(b.dims)[intAttribute(node, "transB", 0) ? 0 : 1],
      ]),
    }];
  },

  lower(b, node) {
    const activation = stringAttribute(node, "activation", "");
    if (!ACTIVATIONS.includes(activation)) refuse(node, `attribute "activation" = ${activation}`);
    const { activation: _, ...attributes } = node.attributes;
    const product = b.op("Gemm", node.inputs, attributes);
    return [activation === "" ? product : b.op(activation, [product])];
  },
};
