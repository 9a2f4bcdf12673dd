/** SiLU in lowered graphs. */
import { floatAttribute } from "../graph/attributes.ts";
import { MICROSOFT, type Node } from "../graph/types.ts";

/** Whether a node is x·sigmoid(x): QuickGelu with α = 1. */
export function isSilu(node: Node): boolean {
  return node.opType === "QuickGelu" && node.domain === MICROSOFT &&
    floatAttribute(node, "alpha", 1.702) === 1;
}
