/** Linear layers whose weight is packed into bytes, so that only attributes give their sizes. */
import { intAttribute } from "./attributes.ts";
import type { Node } from "./types.ts";

const PACKED: ReadonlySet<string> = new Set(["MatMulBnb4", "MatMulNBits"]);

/** The sizes of such a layer, 0 if the attribute is missing; `undefined` for any other node. */
export function packedFeatures(
  node: Node,
): { readonly inFeatures: number; readonly outFeatures: number } | undefined {
  if (!PACKED.has(node.opType)) return undefined;
  return {
    inFeatures: intAttribute(node, "K", 0),
    outFeatures: intAttribute(node, "N", 0),
  };
}
