/**
 * If: PyTorch's older exporter guards squeezes and slices with conditions on shapes. Once shapes are known so
 * is the branch, and its nodes replace the If.
 */
import type { Node } from "../graph/types.ts";
import { unsupported } from "./args.ts";
import { Body, constantScalar, made, prefixOf, subgraphOf } from "./subgraph.ts";
import type { InlinedRule, Inlining } from "./types.ts";

/** Values inside the branch are prefixed with the If's name; values from outside keep theirs. */
function inline(node: Node, at: Inlining): void {
  const condition = constantScalar(node, at, node.inputs[0], "its condition");
  const prefix = prefixOf(node);
  const body = new Body(
    subgraphOf(node, condition !== 0 ? "then_branch" : "else_branch"),
    prefix,
  );
  const { nodes, outputs } = body.nodes(prefix);
  at.emit([
    ...body.constants,
    ...nodes,
    ...node.outputs.flatMap((output, i) =>
      output === "" ? [] : [made("Identity", [outputs[i]], output)]
    ),
  ], node.outputs);
}

export const If: InlinedRule = {
  opType: "If",
  domain: "",
  since: 7,
  attributes: ["else_branch", "then_branch"],
  inputs: "1",
  outputs: "1..",
  remark: "the branch that shapes select",
  traits: { kind: "other", rows: "mixed" },
  inline,
  infer(node) {
    throw unsupported(node, "its condition is computed from data");
  },
};
