/** Formats tables of figures. */
import type { Terminal } from "./output.ts";

/** A column's heading and the text of its cells; numbers are aligned right. */
export interface Column<Row> {
  readonly heading: string;
  readonly cell: (row: Row) => string | number | undefined;
}

/** Significant digits of a figure in a table. */
const DIGITS = 4;

/**
 * Formats a figure with four significant digits, or as a whole number if it is larger: `0.1235`,
 * `12.35`, `123456`.
 */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return Math.abs(value) >= 10 ** (DIGITS - 1)
    ? String(Math.round(value))
    : String(Number(value.toPrecision(DIGITS)));
}

/** Lines of a table with its headings first; a cell without a value is `-`. */
export function formatTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
): readonly string[] {
  const right = columns.map(({ cell }) => rows.some((row) => typeof cell(row) === "number"));
  const texts = [
    columns.map(({ heading }) => heading),
    ...rows.map((row) =>
      columns.map(({ cell }) => {
        const value = cell(row);
        return typeof value === "number" ? formatFigure(value) : value ?? "-";
      })
    ),
  ];
  const widths = columns.map((_, i) => Math.max(...texts.map((line) => line[i].length)));
  return texts.map((line) =>
    line.map((text, i) => right[i] ? text.padStart(widths[i]) : text.padEnd(widths[i]))
      .join("  ").trimEnd()
  );
}

/** Prints a table as {@linkcode formatTable} writes it. */
export function printTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  terminal: Terminal,
): void {
  for (const line of formatTable(rows, columns)) terminal.print(line);
}
