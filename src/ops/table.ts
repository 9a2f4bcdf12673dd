/** The table of supported operators, as documentation shows it. */
import { allRules } from "./registry.ts";
import type { OpRule } from "./types.ts";

/** How a gradient passes an operator: by a rule of its own, by those it is lowered to, or not at all. */
function passage(rule: OpRule): "differentiated" | "lowered" | "values only" {
  if (rule.vjp !== undefined) return "differentiated";
  return (rule.lower ?? rule.inline) === undefined ? "values only" : "lowered";
}

const byName = (x: OpRule, y: OpRule) =>
  x.domain === y.domain
    ? x.opType.localeCompare(y.opType, "en")
    : x.domain.localeCompare(y.domain, "en");

/** Markdown table of all rules, by domain and name, columns aligned. */
export function formatOperatorTable(): string {
  const rows = [...allRules()].sort(byName).map((rule) => [
    `\`${rule.opType}\``,
    rule.domain === "" ? "ONNX" : `\`${rule.domain}\``,
    passage(rule),
    String(rule.since),
    rule.remark ?? "",
  ]);
  const head = ["Operator", "Domain", "Training", "From operator set", "Remarks"];
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i].length)));
  const line = (cells: readonly string[], fill: string) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i], fill)).join(" | ")} |`;
  const rule = line(head.map(() => ""), "-");
  return [line(head, " "), rule, ...rows.map((row) => line(row, " "))].join("\n");
}
