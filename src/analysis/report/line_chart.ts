/** Charts of lines: spectra on a logarithmic scale, drift over layers and steps on a linear one. */
import { at, axisFigure, type Chart, type Drawing, escaped } from "./html.ts";

/** A line of a chart. */
export interface Line {
  readonly name: string;
  /** Class of the style: `w`, `merged`, `a0`, `a1`. */
  readonly style: string;
  /** Points in ascending x. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Where and how a chart is drawn. */
export interface ChartOptions {
  readonly title: string;
  /** What x is. */
  readonly xLabel: string;
  /** Whether y is logarithmic; points that are not positive are left out. */
  readonly logarithmic?: boolean;
  readonly width?: number;
  readonly height?: number;
  /** Text of a value of y. */
  readonly format?: (y: number) => string;
}

const MARGIN = { left: 52, right: 8, top: 8, bottom: 30 };
/** Most points of a line that are drawn. */
const MOST_POINTS = 96;
/** Pixels between the lines of a key. */
const KEY_ROW = 15;
/** Decades below the largest value that a logarithmic chart shows. */
const DECADES = 6;

/** A chart of lines with the axes' ends labelled, and a legend if there are several lines. */
export function lineChart(lines: readonly Line[], options: ChartOptions): Chart {
  const { title, xLabel, logarithmic = false, width = 320, height = 200, format = axisFigure } =
    options;
  const shown = lines.map((line) => ({ ...line, points: thinned(usable(line, logarithmic)) }))
    .filter(({ points }) => points.length > 0);
  const all = shown.flatMap(({ points }) => points);
  const isEmpty = all.length === 0;
  const most = Math.max(...all.map(([, y]) => y), logarithmic ? 0 : 1e-12);
  const floor = most / 10 ** DECADES;
  const least = logarithmic ? Math.max(floor, Math.min(...all.map(([, y]) => y))) : 0;
  const [x0, x1] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
  const scale = logarithmic ? Math.log : (y: number) => y;
  const [inner, tall] = [
    width - MARGIN.left - MARGIN.right,
    height - MARGIN.top - MARGIN.bottom,
  ];
  const px = (x: number) => MARGIN.left + (x1 === x0 ? 0.5 : (x - x0) / (x1 - x0)) * inner;
  const range = scale(most) - scale(least);
  const py = (y: number) =>
    MARGIN.top + (range === 0 ? 0.5 : (scale(most) - scale(Math.max(y, least))) / range) * tall;
  const paths = shown.map(({ style, points }) => {
    const [[x, y]] = points;
    return points.length === 1
      ? `<circle class="dot ${style}" cx="${at(px(x))}" cy="${at(py(y))}" r="3"/>`
      : `<polyline class="line ${style}" points="${
        points.map(([x, y]) => `${at(px(x))},${at(py(y))}`).join(" ")
      }"/>`;
  });
  const bottom = MARGIN.top + tall;
  const text = (x: number, y: number, what: string, anchor: string) =>
    `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${escaped(what)}</text>`;
  return {
    title,
    desc: isEmpty
      ? "No values."
      : shown.map(({ name, points }) => describe(name, points, format)).join(" "),
    width,
    height,
    plot: { x: MARGIN.left, y: MARGIN.top, width: inner, height: tall },
    body:
      `<path class="axis" d="M${MARGIN.left} ${MARGIN.top}V${bottom}H${width - MARGIN.right}"/>` +
      paths.join("") +
      (isEmpty ? "" : text(MARGIN.left - 4, MARGIN.top + 8, format(most), "end") +
        text(MARGIN.left - 4, bottom, format(least), "end") +
        text(MARGIN.left, bottom + 14, String(x0), "start") +
        text(width - MARGIN.right, bottom + 14, String(x1), "end")) +
      text(MARGIN.left + inner / 2, bottom + 14, xLabel, "middle"),
  };
}

/** Names of the lines beside samples of their styles. */
export function legend(lines: readonly Pick<Line, "name" | "style">[]): string {
  const items = lines.map(({ name, style }) =>
    `<li><svg aria-hidden="true" width="26" height="10" viewBox="0 0 26 10">` +
    `<path class="line ${style}" d="M1 5H25"/></svg> ${escaped(name)}</li>`
  );
  return `<ul class="legend">${items.join("")}</ul>`;
}

/** The same as a drawing: a line of text for each. */
export function lineKey(lines: readonly Pick<Line, "name" | "style">[]): Drawing {
  const rows = lines.map(({ name, style }, i) =>
    `<path class="line ${style}" d="M0 ${5 + i * KEY_ROW}h24"/>` +
    `<text x="30" y="${9 + i * KEY_ROW}">${escaped(name)}</text>`
  );
  return {
    title: "Key of the lines",
    desc: lines.map(({ name }) => name).join(", "),
    width: 30,
    height: lines.length * KEY_ROW,
    body: rows.join(""),
  };
}

function usable({ points }: Line, logarithmic: boolean) {
  return points.filter(([, y]) => Number.isFinite(y) && (!logarithmic || y > 0));
}

function thinned(points: Line["points"]): Line["points"] {
  if (points.length <= MOST_POINTS) return points;
  return Array.from(
    { length: MOST_POINTS },
    (_, i) => points[Math.round(i * (points.length - 1) / (MOST_POINTS - 1))],
  );
}

function describe(name: string, points: Line["points"], format: (y: number) => string): string {
  const [first, last] = [points[0], points.at(-1)!];
  return `${name}: ${format(first[1])} at ${first[0]}, ${format(last[1])} at ${last[0]}.`;
}
