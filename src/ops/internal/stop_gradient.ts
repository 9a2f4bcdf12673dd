/** graft.StopGradient: its input, which gets no gradient. */
import type { GraphBuilder } from "../../graph/builder.ts";
import { GRAFT } from "../../graph/types.ts";
import { required } from "../args.ts";
import { elementwise } from "../traits.ts";
import type { OpRule } from "../types.ts";

/** Emits the operator and returns its output. */
export function emitStopGradient(b: GraphBuilder, x: string): string {
  const [output] = b.emit({
    opType: "StopGradient",
    domain: GRAFT,
    inputs: [x],
    attributes: {},
    outputCount: 1,
  });
  return output;
}

export const StopGradient: OpRule = {
  opType: "StopGradient",
  domain: GRAFT,
  since: 1,
  attributes: [],
  inputs: "1",
  outputs: "1",
  traits: elementwise("other", "cheap"),
  blocksGradient: true,
  infer: (node, inputs) => [required(node, inputs, 0)],
  expand: (b, node) => void b.emit({ ...node, opType: "Identity", domain: "" }),
};
