/**
 * If: PyTorch's older exporter guards squeezes and slices with conditions on shapes. Once shapes
 * are known so is the branch, and its nodes take the place of the If.
 */
import { BadInputError } from "../errors.ts";
import type { Known } from "../graph/builder.ts";
import { tensorValue } from "../graph/attributes.ts";
import { toNumbers } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { label, unsupported } from "./args.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

function takenBranch(node: Node, condition: Known): Graph {
  if (condition.value === undefined) {
    throw unsupported(node, `its condition "${node.inputs[0]}" is computed from data`);
  }
  const name = toNumbers(condition.value)[0] !== 0 ? "then_branch" : "else_branch";
  const branch = node.attributes[name];
  if (branch?.kind !== "graph") throw new BadInputError(`${label(node)} needs attribute "${name}"`);
  return branch.value;
}

/**
 * The nodes that stand for an If whose condition is a constant. Values inside the branch get the
 * If's name in front, so that inlined branches never clash; values from outside keep theirs.
 *
 * @throws {UnsupportedError} where the condition is computed from data
 */
export function inlineIf(node: Node, condition: Known): readonly Node[] {
  const branch = takenBranch(node, condition);
  const prefix = `${node.name || node.outputs[0]}/`;
  const inner = new Set<string>(branch.initializers.keys());
  for (const { outputs } of branch.nodes) for (const name of outputs) inner.add(name);
  const rename = (name: string) => inner.has(name) ? prefix + name : name;
  const make = (opType: string, inputs: string[], output: string, rest: Partial<Node> = {}) => ({
    name: `${prefix}${opType}/${output}`,
    opType,
    domain: "",
    inputs,
    outputs: [output],
    attributes: {},
    ...rest,
  });
  return [
    ...Array.from(
      branch.initializers,
      ([name, value]) =>
        make("Constant", [], prefix + name, { attributes: { value: tensorValue(value) } }),
    ),
    ...branch.nodes.map((each) => ({
      ...renameInputs(each, rename),
      name: prefix + each.name,
      outputs: each.outputs.map((name) => name === "" ? "" : prefix + name),
    })),
    ...node.outputs.flatMap((output, i) =>
      output === "" ? [] : [make("Identity", [rename(branch.outputs[i].name)], output)]
    ),
  ];
}

/** Renames what a node reads, branches of its own included. */
function renameInputs(node: Node, rename: (name: string) => string): Node {
  const attributes = Object.entries(node.attributes).map(([key, attribute]) => {
    if (attribute.kind !== "graph") return [key, attribute] as const;
    const { value } = attribute;
    const nodes = value.nodes.map((each) => renameInputs(each, rename));
    const outputs = value.outputs.map((info) => ({ ...info, name: rename(info.name) }));
    return [key, { kind: "graph", value: { ...value, nodes, outputs } } as const] as const;
  });
  return { ...node, inputs: node.inputs.map(rename), attributes: Object.fromEntries(attributes) };
}

/** For the table of operators; passes inline the branch with {@linkcode inlineIf} before rules run. */
export const If: OpRule = {
  opType: "If",
  domain: "",
  since: 7,
  attributes: ["else_branch", "then_branch"],
  remark: "the branch that shapes select",
  traits: mixed("other"),
  infer(node) {
    throw unsupported(node, "its condition is computed from data");
  },
};
