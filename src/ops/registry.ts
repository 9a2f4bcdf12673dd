/** Every operator graft knows, by domain and name. */
import type { Infer } from "../graph/builder.ts";
import { GRAFT, MICROSOFT, type Node, operatorName, type Opsets } from "../graph/types.ts";
import { type OpRule, TRAINING_OPSET, UnsupportedError } from "./types.ts";
import { CONTRIB_RULES } from "./contrib.ts";
import { INTERNAL_RULES } from "./internal.ts";
import { withKnownAttributes } from "./known_attributes.ts";
import { STANDARD_RULES } from "./standard.ts";
import { type Kind, mixed, type Traits } from "./traits.ts";
import { UNTRAINED } from "./untrained.ts";
import { ownValue } from "../records.ts";

const RULES: ReadonlyMap<string, OpRule> = new Map(
  [...STANDARD_RULES, ...CONTRIB_RULES, ...INTERNAL_RULES].map((rule) => [
    `${rule.domain}:${rule.opType}`,
    withKnownAttributes(rule),
  ]),
);

/** The rules of all operators that models may hold, for the table of them and for tests over each. */
export function allRules(): readonly OpRule[] {
  return [...RULES.values()].filter(({ domain }) => domain !== GRAFT);
}

/** The rule of a node's operator, `undefined` where graft has none. */
export function findRule(node: Pick<Node, "domain" | "opType">): OpRule | undefined {
  return RULES.get(`${node.domain}:${node.opType}`);
}

/** The rule of a node's operator; throws an `UnsupportedError` that names the node. */
export function ruleOf(node: Pick<Node, "domain" | "opType" | "name">): OpRule {
  const rule = findRule(node);
  if (rule === undefined) {
    const isFunction = node.domain !== "" && node.domain !== MICROSOFT;
    throw new UnsupportedError(
      `Cannot train through node "${node.name}": operator ${operatorName(node)} is not supported` +
        `; export the model without it (\`graft inspect --operators\` lists what is supported)` +
        (isFunction ? ", or, if it is a function of the model's, inline it (onnx.inliner)" : ""),
    );
  }
  return rule;
}

const TRAITS: ReadonlyMap<string, Traits> = new Map(
  [...UNTRAINED, ...RULES].map((
    [name, { traits }],
  ) => [name, { ...mixed(traits.kind), ...traits }]),
);
const UNKNOWN = mixed("other");

/**
 * The traits of a node's operator. What a rule does not state, since no training graph holds the
 * operator, and all of an operator that graft does not know, promises nothing.
 */
export function traitsOf({ domain, opType }: Pick<Node, "domain" | "opType">): Traits {
  return TRAITS.get(`${domain}:${opType}`) ?? UNKNOWN;
}

/** What a node's operator is. */
export function kindOf(node: Pick<Node, "domain" | "opType">): Kind {
  return traitsOf(node).kind;
}

/** Whether a node computes each entry by itself, its operands broadcast. */
export function isElementwise(node: Pick<Node, "domain" | "opType">): boolean {
  return traitsOf(node).rows === "elementwise";
}

/** Shape inference over the registry, for nodes written against `opsets`. */
export function inferWith(opsets: Opsets): Infer {
  return (node, inputs) =>
    ruleOf(node).infer(node, inputs, { opset: ownValue(opsets, node.domain) ?? 1 });
}

/** Operator sets of the graphs graft builds. */
export const TRAINING_OPSETS: Opsets = { "": TRAINING_OPSET, "com.microsoft": 1 };

/** Shape inference for graphs graft builds. */
export const inferTraining: Infer = inferWith(TRAINING_OPSETS);
