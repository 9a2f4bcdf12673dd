/**
 * Values without a gradient, in a graph that any runtime can run: an `Identity` with a property in its
 * metadata, which training reads and runtimes ignore.
 */
import type { Node } from "./types.ts";

const PROPERTY = "graft.gradient";
const NONE = "none";

/** The node that passes a value on and no gradient back. */
export function stopGradientNode(value: string, output: string): Node {
  return {
    name: output,
    opType: "Identity",
    domain: "",
    inputs: [value],
    outputs: [output],
    attributes: {},
    metadata: { [PROPERTY]: NONE },
  };
}

/** Whether an `Identity` passes no gradient back. */
export function stopsGradient({ metadata }: Node): boolean {
  return metadata?.[PROPERTY] === NONE;
}
