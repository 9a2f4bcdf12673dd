/** Linear layers whose weight is packed into bytes, so that only attributes give their sizes. */
import { intAttribute } from "../../graph/attributes.ts";
import type { Node } from "../../graph/types.ts";
import { kindOf } from "../registry.ts";

/** The sizes of such a layer, 0 if the attribute is missing; `undefined` for any other node. */
export function packedFeatures(
  node: Node,
): { readonly inFeatures: number; readonly outFeatures: number } | undefined {
  if (kindOf(node) !== "packed product") return undefined;
  return {
    inFeatures: intAttribute(node, "K", 0),
    outFeatures: intAttribute(node, "N", 0),
  };
}
