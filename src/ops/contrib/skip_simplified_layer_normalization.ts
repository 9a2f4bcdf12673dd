/** com.microsoft.SkipSimplifiedLayerNormalization: root mean square normalisation of a residual sum. */
import { floatAttribute } from "../../graph/attributes.ts";
import { MICROSOFT } from "../../graph/types.ts";
import { rmsNormalize } from "../rms_normalization.ts";
import type { OpRule } from "../types.ts";
import { inferSkip } from "./skip.ts";
import { namedInputs, refuseOutputs, required } from "./support.ts";

export const SkipSimplifiedLayerNormalization: OpRule = {
  opType: "SkipSimplifiedLayerNormalization",
  domain: MICROSOFT,
  since: 1,
  attributes: ["epsilon"],
  inputs: "3..4",
  outputs: "1..4",
  remark: "without mean and inv_std_var",
  traits: { kind: "normalization", rows: "mixed" },

  infer: inferSkip,

  lower(b, node, { needed }) {
    refuseOutputs(node, needed, { 1: "mean", 2: "inv_std_var" });
    const { input, skip, gamma, bias } = namedInputs(node, ["input", "skip", "gamma", "bias"]);
    let sum = b.op("Add", [required(node, "input", input), required(node, "skip", skip)]);
    if (bias !== undefined) sum = b.op("Add", [sum, bias]);
    const scale = required(node, "gamma", gamma);
    const normal = rmsNormalize(b, sum, scale, floatAttribute(node, "epsilon", 1e-12));
    return [normal, "", "", sum];
  },
};
