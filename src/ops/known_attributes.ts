/** Nodes have no attributes other than those that their operator's rule reads: none is ever ignored. */
import type { Node } from "../graph/types.ts";
import { unsupported } from "./args.ts";
import { refuse, shown } from "./contrib/support.ts";
import type { OpRule } from "./types.ts";

function check(node: Node, known: readonly string[]): void {
  for (const [name, attribute] of Object.entries(node.attributes)) {
    if (!known.includes(name)) refuse(node, `attribute "${name}" = ${shown(attribute)}`);
  }
  const precision = node.attributes.stash_type ?? node.attributes.softmax_precision;
  if (precision !== undefined && precision.value !== 1) {
    throw unsupported(node, "it computes in another type than float32");
  }
}

/** The rule, made to refuse nodes with attributes that it does not know. */
export function withKnownAttributes(rule: OpRule): OpRule {
  const { attributes } = rule;
  const infer: OpRule["infer"] = (node, inputs, context) => {
    check(node, attributes);
    return rule.infer(node, inputs, context);
  };
  if (rule.inline !== undefined) {
    const { inline } = rule;
    return {
      ...rule,
      infer,
      inline(node, at) {
        check(node, attributes);
        inline(node, at);
      },
    };
  }
  const { lower } = rule;
  if (lower === undefined) return { ...rule, infer };
  const checked: typeof lower = (b, node, context) => {
    check(node, attributes);
    return lower(b, node, context);
  };
  return { ...rule, infer, lower: checked } as OpRule;
}
