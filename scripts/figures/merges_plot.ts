/** A plot of the share of the gain that merges keep as SVG: a line a case, a mark a way. */
import type { Merge } from "./merges_page.ts";

const [WIDTH, LINE] = [860, 20];
const FRAME = { left: 300, right: 130, top: 30, bottom: 46 };
const COLOURS = ["#1b6ca8", "#c0392b", "#d98e04", "#3aa17e", "#7d5ba6", "#555555"];
/** Shares below are drawn at the left end. */
const LEAST = 0;
const STEP = 0.2;

/** The picture; to the right is better, and 1 is all of the gain. */
export function keptPlot(merges: readonly Merge[]): string {
  const shown = merges.filter(({ gain_kept }) => gain_kept !== null);
  const nameOf = ({ workload, form, targets, rank, iters }: Merge) =>
    `${workload}, ${form}, ${targets}, rank ${rank}, ${iters} steps`;
  const cases = [...new Set(shown.map(nameOf))];
  const ways = [...new Set(shown.map(({ way }) => way))];
  const most = Math.max(1.1, ...shown.map(({ gain_kept }) => gain_kept!));
  const [left, right] = [FRAME.left, WIDTH - FRAME.right];
  const bottom = FRAME.top + LINE * cases.length;
  const x = (share: number) =>
    Number((left + (right - left) * (Math.max(LEAST, share) - LEAST) / (most - LEAST)).toFixed(1));
  const y = (merge: Merge) => FRAME.top + LINE * (cases.indexOf(nameOf(merge)) + 0.5);
  const colour = (way: string) => COLOURS[ways.indexOf(way) % COLOURS.length];
  const ticks = Array.from({ length: Math.floor(most / STEP) + 1 }, (_, i) => i * STEP);
  const height = bottom + FRAME.bottom;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    "<title>Share of the gain kept</title>",
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...ticks.map((share) =>
      `<path d="M${x(share)} ${FRAME.top}V${bottom}" stroke="#dddddd"/>` +
      text(x(share), bottom + 16, `${Math.round(100 * share)}%`, "middle")
    ),
    `<path d="M${x(1)} ${FRAME.top}V${bottom}" stroke="#333333"/>`,
    text((left + right) / 2, bottom + 36, "share of the LoRA's gain kept", "middle"),
    ...cases.map((name, i) => text(left - 10, FRAME.top + LINE * (i + 0.5) + 4, name, "end")),
    ...shown.map((merge) => {
      const { way, gain_kept, interval } = merge;
      const bar = interval === null
        ? ""
        : `<path d="M${x(interval[0])} ${y(merge)}H${x(interval[1])}" stroke="${colour(way)}"/>`;
      const title = `${nameOf(merge)}, ${way}: ${(100 * gain_kept!).toFixed(1)}%`;
      return `${bar}<g fill="${colour(way)}"><title>${title}</title>` +
        `<circle cx="${x(gain_kept!)}" cy="${y(merge)}" r="4.5"/></g>`;
    }),
    ...ways.map((way, i) =>
      `<circle cx="${right + 24}" cy="${FRAME.top + 20 * i}" r="4.5" fill="${colour(way)}"/>` +
      text(right + 36, FRAME.top + 20 * i + 4, way)
    ),
    "</svg>",
    "",
  ].join("\n");
}

const text = (x: number, y: number, content: string, anchor = "start") =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#222222">${content}</text>`;
