/** Heat maps of the similarity of subspaces. */
import { at, type Chart, type Drawing } from "./html.ts";

/** Steps of the scale from 0 to 1; the page's style has a colour for each, light and dark. */
export const HEAT_STEPS = 10;
/** Most cells along a side; more are sampled evenly. */
const MOST_CELLS = 64;
const [LEFT, TOP] = [34, 6];
const BOTTOM = 30;

/**
 * A grid of values from 0 to 1, i downwards and j to the right, both from 1.
 *
 * @param size pixels of the longer side
 */
export function heatMap(
  values: readonly (readonly number[])[],
  { title, size = 320 }: { readonly title: string; readonly size?: number },
): Chart {
  const [rows, cols] = [values.length, values[0]?.length ?? 0];
  const [down, across] = [sampled(rows), sampled(cols)];
  const cell = Math.max(2, Math.floor(size / Math.max(down.length, across.length, 1)));
  // Few rows beside many columns are drawn higher.
  const height = Math.max(cell, Math.min(16, Math.floor(size / (2 * Math.max(1, down.length)))));
  const cells = Array.from({ length: HEAT_STEPS }, () => "");
  down.forEach((i, y) =>
    across.forEach((j, x) => {
      const step = Math.min(HEAT_STEPS - 1, Math.max(0, Math.floor(values[i][j] * HEAT_STEPS)));
      cells[step] += `M${LEFT + x * cell} ${TOP + y * height}h${cell}v${height}h-${cell}z`;
    })
  );
  const [wide, high] = [across.length * cell, down.length * height];
  const label = (x: number, y: number, text: string, anchor = "start") =>
    `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${text}</text>`;
  return {
    title,
    desc:
      `Grid of ${rows} by ${cols} values from 0 to 1. φ(1, 1) is ${values[0]?.[0]?.toFixed(2)}, ` +
      `φ(${rows}, ${cols}) is ${values.at(-1)?.at(-1)?.toFixed(2)}.`,
    width: LEFT + Math.max(wide, 60) + 8,
    height: TOP + high + BOTTOM,
    plot: { x: LEFT, y: TOP, width: wide, height: high },
    body: cells.map((path, i) => path === "" ? "" : `<path class="h${i}" d="${path}"/>`).join("") +
      `<rect class="frame" x="${LEFT}" y="${TOP}" width="${wide}" height="${high}"/>` +
      label(LEFT - 4, TOP + 10, "i=1", "end") +
      (high > 24 ? label(LEFT - 4, TOP + high, String(rows), "end") : "") +
      label(LEFT, TOP + high + 13, "j=1") +
      label(LEFT + wide, TOP + high + 13, wide > 40 ? String(cols) : "", "end"),
  };
}

/** Up to {@linkcode MOST_CELLS} indices, the first and the last among them. */
function sampled(count: number): readonly number[] {
  const kept = Math.min(count, MOST_CELLS);
  return Array.from(
    { length: kept },
    (_, i) => kept === 1 ? 0 : Math.round(i * (count - 1) / (kept - 1)),
  );
}

/** The scale of the colours. */
export function heatScale(): Drawing {
  const swatches = Array.from(
    { length: HEAT_STEPS },
    (_, i) => `<path class="h${i}" d="M${i * 18} 0h18v12h-18z"/>`,
  );
  return {
    title: "Scale of the heat maps",
    desc: "Ten colours from φ = 0 to φ = 1.",
    width: 18 * HEAT_STEPS,
    height: 26,
    body: swatches.join("") +
      `<text x="0" y="24">φ = 0</text><text x="${
        18 * HEAT_STEPS
      }" y="24" text-anchor="end">1</text>`,
  };
}
