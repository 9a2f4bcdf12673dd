/**
 * graft.Attend: attention over heads as one operator, until it is decided in which rows its operands are
 * stored (`plan/pack_tokens.ts`). Nothing computes it, and it has no derivative.
 *
 *     Attend(query, key, value, sink or none, masks…): as `attend` of `contrib/attention_core.ts`
 */
import { float, floatAttribute, int, intAttribute } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { asDims, extentsOf } from "../../graph/extents.ts";
import { times } from "../../graph/extent_arithmetic.ts";
import { GRAFT, type Node } from "../../graph/types.ts";
import { required } from "../args.ts";
import type { AttentionInputs } from "../contrib/attention_form.ts";
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";

/** @returns [B, T, H · valueSize] */
export function emitAttend(b: GraphBuilder, inputs: AttentionInputs): string {
  const { query, key, value, sink = "", masks, scale, softcap = 0, causal } = inputs;
  return b.emit({
    opType: "Attend",
    domain: GRAFT,
    inputs: [query, key, value, sink, ...masks],
    attributes: {
      scale: float(scale),
      softcap: float(softcap),
      causal: int(causal === undefined ? 0 : 1),
      window: int(causal?.window ?? 0),
    },
    outputCount: 1,
  })[0];
}

/** The inputs of an attention node; `undefined` if it is another operator. */
export function attendedOf(node: Node): AttentionInputs | undefined {
  if (node.opType !== "Attend" || node.domain !== GRAFT) return undefined;
  const [query, key, value, sink, ...masks] = node.inputs;
  const window = intAttribute(node, "window", 0);
  const isCausal = intAttribute(node, "causal", 0) === 1;
  return {
    query,
    key,
    value,
    masks,
    scale: floatAttribute(node, "scale", 1),
    softcap: floatAttribute(node, "softcap", 0),
    ...(isCausal && { causal: window > 0 ? { window } : {} }),
    ...(sink !== "" && { sink }),
  };
}

export const Attend: OpRule = {
  opType: "Attend",
  domain: GRAFT,
  since: 1,
  attributes: ["scale", "softcap", "causal", "window"],
  inputs: "4..",
  outputs: "1",
  traits: mixed("attention"),

  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    const [batch, tokens, heads] = extentsOf(dims);
    const value = required(node, inputs, 2);
    return [{ dtype, dims: asDims([batch, tokens, times(heads, value.dims[3])]) }];
  },
};
