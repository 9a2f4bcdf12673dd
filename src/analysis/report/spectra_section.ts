/** Singular values of each matrix. */
import type { Analysis, MatrixAnalysis } from "../analysis.ts";
import { captioned, type Chart } from "./html.ts";
import { type ChartOptions, legend, type Line, lineChart } from "./line_chart.ts";

/** The section of the spectra. */
export function spectraSection({ adapters, matrices }: Analysis): string {
  const charts = matrices.map((matrix) =>
    captioned(
      spectrumChart(spectrumLines(matrix, adapters), matrix.path),
      `${matrix.path}, ${matrix.rows}×${matrix.cols}: rank W ${matrix.spectrum?.rank ?? "–"}, ΔW ${
        matrix.updates.map((update) => update?.spectrum.rank ?? "–").join(" and ")
      }`,
    )
  );
  return `<h2>Singular values</h2>
<p>Singular values by index, on a logarithmic scale of at most six decades. W' = W + ΔW of the first
adapter; the numerical rank counts the values above max(rows, columns)·2⁻²³ of the largest.</p>
${
    legend([
      { name: "W", style: "w" },
      { name: "W'", style: "merged" },
      ...adapters.map(({ path }, i) => ({ name: nameOfUpdate(path), style: `a${i}` })),
    ])
  }<details open><summary>${matrices.length} matrices</summary>
<div class="grid">${charts.join("\n")}</div></details>`;
}

const nameOfUpdate = (adapter: string) => `ΔW of ${adapter}`;

/** The singular values of W, W' and the updates as lines, which may be empty. */
export function spectrumLines(
  { spectrum, updates }: MatrixAnalysis,
  adapters: Analysis["adapters"],
): readonly Line[] {
  const points = (values: readonly number[] | undefined) =>
    (values ?? []).map((value, i) => [i + 1, value] as const);
  const merged = updates.find((update) => update !== null)?.merged;
  return [
    { name: "W", style: "w", points: points(spectrum?.singularValues) },
    { name: "W'", style: "merged", points: points(merged?.singularValues) },
    ...updates.map((update, i) => ({
      name: nameOfUpdate(adapters[i].path),
      style: `a${i}`,
      points: points(update?.spectrum.singularValues),
    })),
  ];
}

/** A chart of such lines. */
export function spectrumChart(
  lines: readonly Line[],
  path: string,
  size: Pick<ChartOptions, "width" | "height"> = {},
): Chart {
  const title = `Singular values of ${path}`;
  return lineChart(lines, { title, xLabel: "index", logarithmic: true, ...size });
}
