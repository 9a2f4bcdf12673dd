/** A Markdown table with aligned columns, as `deno fmt` writes it. */
export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  const line = (row: readonly string[], fill: string) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i], fill)).join(" | ")} |`;
  const [first, ...others] = cells;
  return [line(first, " "), line(head.map(() => ""), "-"), ...others.map((row) => line(row, " "))]
    .join("\n");
}
