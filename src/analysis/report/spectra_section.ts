/** Singular values of each matrix. */
import type { Analysis, MatrixAnalysis } from "../analysis.ts";
import { captioned } from "./html.ts";
import { legend, type Line, lineChart } from "./line_chart.ts";

/** The section of the spectra. */
export function spectraSection({ adapters, matrices }: Analysis): string {
  const names = [
    { name: "W", style: "w" },
    { name: "W'", style: "merged" },
    ...adapters.map(({ path }, i) => ({ name: `ΔW of ${path}`, style: `a${i}` })),
  ];
  const charts = matrices.map((matrix) => {
    const lines = spectrumLines(matrix, names.slice(2).map(({ name }) => name));
    return captioned(
      lineChart(lines, {
        title: `Singular values of ${matrix.path}`,
        xLabel: "index",
        logarithmic: true,
      }),
      `${matrix.path}, ${matrix.rows}×${matrix.cols}: rank W ${matrix.spectrum?.rank ?? "–"}, ΔW ${
        matrix.updates.map((update) => update?.spectrum.rank ?? "–").join(" and ")
      }`,
    );
  });
  return `<h2>Singular values</h2>
<p>Singular values by index, on a logarithmic scale of at most six decades. W' = W + ΔW of the first
adapter; the numerical rank counts the values above max(rows, columns)·2⁻²³ of the largest.</p>
${legend(names)}<details open><summary>${matrices.length} matrices</summary>
<div class="grid">${charts.join("\n")}</div></details>`;
}

function spectrumLines(
  { spectrum, updates }: MatrixAnalysis,
  names: readonly string[],
): readonly Line[] {
  const points = (values: readonly number[] | undefined) =>
    (values ?? []).map((value, i) => [i + 1, value] as const);
  const merged = updates.find((update) => update !== null)?.merged;
  return [
    { name: "W", style: "w", points: points(spectrum?.singularValues) },
    { name: "W'", style: "merged", points: points(merged?.singularValues) },
    ...updates.map((update, i) => ({
      name: names[i],
      style: `a${i}`,
      points: points(update?.spectrum.singularValues),
    })),
  ];
}
