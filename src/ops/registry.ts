/** Every operator that graft knows, by domain and name. */
import type { Infer } from "../graph/builder.ts";
import { GRAFT, MICROSOFT, type Node, operatorName, type Opsets } from "../graph/types.ts";
import { type OpRule, TRAINING_OPSET, UnsupportedError } from "./types.ts";
import { CONTRIB_RULES } from "./contrib.ts";
import { INTERNAL_RULES } from "./internal.ts";
import { withKnownAttributes } from "./known_attributes.ts";
import { STANDARD_RULES } from "./standard.ts";
import { type FileTraits, type Kind, mixed, type Traits } from "./traits.ts";
import { UNTRAINED } from "./untrained.ts";
import { ownValue } from "../records.ts";

/** What is known about an operator, with or without a rule. */
interface Operator {
  readonly rule?: OpRule;
  readonly traits: Traits;
}

/** By domain, then by name: planning looks up every node, many times. */
const OPERATORS = new Map<string, Map<string, Operator>>();

function enter(domain: string, opType: string, traits: FileTraits, rule?: OpRule): void {
  const ofDomain = OPERATORS.get(domain) ?? new Map<string, Operator>();
  OPERATORS.set(domain, ofDomain);
  ofDomain.set(opType, { rule, traits: { ...mixed(traits.kind), ...traits } });
}

for (const { domain, opType, traits } of UNTRAINED) enter(domain, opType, traits);
const RULES = [...STANDARD_RULES, ...CONTRIB_RULES, ...INTERNAL_RULES].map(withKnownAttributes);
for (const rule of RULES) enter(rule.domain, rule.opType, rule.traits, rule);

const UNKNOWN = mixed("other");

/** The rules of all operators that models may hold, for the table of operators and for tests of each. */
export function allRules(): readonly OpRule[] {
  return RULES.filter(({ domain }) => domain !== GRAFT);
}

/** The rule of a node's operator, `undefined` if graft has none. */
export function findRule(node: Pick<Node, "domain" | "opType">): OpRule | undefined {
  return OPERATORS.get(node.domain)?.get(node.opType)?.rule;
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

/**
 * The traits of a node's operator. Nothing is promised for traits that a rule does not state, since no
 * training graph holds the operator, and for operators that graft does not know.
 */
export function traitsOf({ domain, opType }: Pick<Node, "domain" | "opType">): Traits {
  return OPERATORS.get(domain)?.get(opType)?.traits ?? UNKNOWN;
}

/** The kind of a node's operator. */
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

/** Operator sets of the graphs that graft builds. */
export const TRAINING_OPSETS: Opsets = { "": TRAINING_OPSET, "com.microsoft": 1 };

/** Shape inference for graphs that graft builds. */
export const inferTraining: Infer = inferWith(TRAINING_OPSETS);
