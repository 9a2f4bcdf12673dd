/** Writes docs/operators.md, the table of supported operators, from the registry. */
import { allRules } from "../src/ops/registry.ts";
import type { OpRule } from "../src/ops/types.ts";
import { markdownTable } from "./markdown_table.ts";

const HEAD = `# Supported operators

Generated from the registry by \`deno run --allow-write=docs scripts/operators.ts\`; do not edit.

Models may use operator sets 7 and later. Training happens in a graph of ONNX's operator set 21, to
which the user's graph is lowered once batch size and sequence length are known; what runs at
inference stays the user's graph. \`QLinearMatMul\`, \`QLinearConv\`, \`QGemm\` and the other operators on
quantised activations are read as \`DequantizeLinear\`, the operator on floats and \`QuantizeLinear\`
(\`src/graph/passes/qoperators_to_qdq.ts\`).

- **differentiated**: gradients pass by a rule of the operator's own.
- **lowered**: rewritten for training into operators that have one.
- **values only**: shapes, positions, masks, indices. No gradient passes; contents that depend on
  shapes alone are computed when the graph is built.

Any attribute or optional input that is not implemented is refused by name, never ignored.

`;

/** How a gradient passes an operator: by a rule of its own, by those it is lowered to, or not at all. */
function passage(rule: OpRule): "differentiated" | "lowered" | "values only" {
  if (rule.vjp !== undefined) return "differentiated";
  return (rule.lower ?? rule.inline) === undefined ? "values only" : "lowered";
}

const byName = (x: OpRule, y: OpRule) =>
  x.domain === y.domain
    ? x.opType.localeCompare(y.opType, "en")
    : x.domain.localeCompare(y.domain, "en");

/** The table of all rules, by domain and name. */
function operatorTable(): string {
  const head = ["Operator", "Domain", "Training", "From operator set", "Remarks"];
  return markdownTable(
    head,
    [...allRules()].sort(byName).map((rule) => [
      `\`${rule.opType}\``,
      rule.domain === "" ? "ONNX" : `\`${rule.domain}\``,
      passage(rule),
      String(rule.since),
      rule.remark ?? "",
    ]),
  );
}

/** The file's content. */
export function operatorsPage(): string {
  return `${HEAD}${operatorTable()}\n`;
}

if (import.meta.main) {
  const path = new URL("../docs/operators.md", import.meta.url);
  await Deno.writeTextFile(path, operatorsPage());
  console.log("docs/operators.md is written");
}
