/** The report's pictures as files of their own, for papers and slides. */
import type { Analysis, MatrixAnalysis } from "../analysis.ts";
import { driftCharts } from "./drift_section.ts";
import { fileNames } from "./file_names.ts";
import { heatMap, heatScale } from "./heat_map.ts";
import type { Chart } from "./html.ts";
import { type Line, lineChart, lineKey } from "./line_chart.ts";
import { meanMaps, SIDES } from "./pair_section.ts";
import { spectrumChart, spectrumLines } from "./spectra_section.ts";
import { cut, standalone } from "./standalone.ts";

/** A picture as a file. */
export interface Picture {
  /** The file's name without its ending: letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  /** Text of an SVG file. */
  readonly svg: string;
}

/** Most matrices that have pictures of their own: what two layers with all seven modules have. */
export const MOST_MATRICES = 16;

/** Pixels at which text of 11 has 7 points, if the picture is as wide as a paper's column of 3.3 inches. */
const SIZE = { width: 340, height: 220 };
const MAP_SIZE = 304;
/** Room for the name of a line. */
const NAME_WIDTH = 290;

/**
 * The pictures of an analysis: drift by layer and over steps, mean similarity; and spectra and similarity of
 * each matrix, if there are at most {@linkcode MOST_MATRICES}.
 */
export function reportPictures(analysis: Analysis): readonly Picture[] {
  const { adapters, matrices } = analysis;
  const name = fileNames();
  const summary = [
    ...driftCharts(analysis).map(({ over, lines, options, of }): Picture => ({
      name: over === "layer" ? "drift-by-layer" : "drift-over-steps",
      svg: ofLines(lineChart(lines, { ...options, ...SIZE }), lines, {
        title: options.title,
        subtitle: of,
        yLabel: "‖ΔW‖/‖W‖",
      }),
    })),
    ...meanMaps(analysis).map(({ side, title, values, count }): Picture => ({
      name: `similarity-${side}`,
      svg: ofMap(heatMap(values, { title, size: MAP_SIZE }), adapters, {
        title: `${title}, ${count} ${count === 1 ? "matrix" : "matrices"}`,
        subtitle: "φ(i, j) of the first i and the first j directions",
      }),
    })),
  ];
  if (matrices.length > MOST_MATRICES) return summary;
  return [
    ...summary,
    ...matrices.flatMap((matrix) => picturesOf(matrix, adapters, name)),
  ];
}

function picturesOf(
  matrix: MatrixAnalysis,
  adapters: Analysis["adapters"],
  name: (kind: string, path: string) => string,
): readonly Picture[] {
  const { path, rows, cols, pair } = matrix;
  const lines = spectrumLines(matrix, adapters).filter(({ points }) => points.length > 0);
  const maps = SIDES.flatMap((side): Picture[] => {
    const values = pair?.[side] ?? [];
    if (values.length === 0) return [];
    const title = `Similarity of the ${side}`;
    const map = heatMap(values, { title: `${path}: ${title}`, size: MAP_SIZE });
    const svg = ofMap(map, adapters, { title: `${title}, φ(i, j)`, subtitle: path });
    return [{ name: name(`similarity-${side}`, path), svg }];
  });
  return [
    {
      name: name("singular-values", path),
      svg: ofLines(spectrumChart(lines, path, SIZE), lines, {
        title: `Singular values, ${rows}×${cols}`,
        subtitle: path,
        yLabel: "singular value, logarithmic",
      }),
    },
    ...maps,
  ];
}

function ofLines(
  chart: Chart,
  lines: readonly Line[],
  around: { readonly title: string; readonly subtitle: string; readonly yLabel: string },
): string {
  const named = lines.map(({ name, style }) => ({ name: cut(name, NAME_WIDTH), style }));
  return standalone(chart, { ...around, key: lineKey(named) });
}

function ofMap(
  chart: Chart,
  adapters: Analysis["adapters"],
  around: { readonly title: string; readonly subtitle: string },
): string {
  const [i, j] = adapters;
  return standalone(chart, {
    ...around,
    yLabel: `i of ${i.path}`,
    xLabel: `j of ${j.path}`,
    key: heatScale(),
  });
}
