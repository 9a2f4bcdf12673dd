/** The picture of a search: the metric against rank, parameters and time, as one SVG file. */
import { at, escaped } from "../analysis/report/html.ts";
import { formatMetric, type Metric } from "./metric.ts";

/** A candidate in the picture. */
export interface PlottedCandidate {
  readonly name: string;
  readonly rank: number;
  readonly parameters: number;
  /** Seconds of a whole training, extrapolated from its last one. */
  readonly seconds: number;
  /** The metric's mean over the seeds, and its least and largest value. */
  readonly value: number;
  readonly least: number;
  readonly most: number;
  /** Whether it was trained as long as any. */
  readonly finalist: boolean;
  readonly picked: boolean;
}

const PANEL = { width: 300, height: 220, left: 56, right: 16, top: 14, bottom: 44 };
const LEGEND_HEIGHT = 26;

const STYLE = `<style>
text{font:11px system-ui,sans-serif;fill:#5a6773}.axis{fill:none;stroke:#b5bfc9}
.bar{stroke:#1f66b0}.dot{fill:#1f66b0;stroke:#1f66b0}.early .dot{fill:none;stroke:#8a97a5}
.early .bar{stroke:#8a97a5}.picked .dot,.picked .bar{fill:#b3530c;stroke:#b3530c}
@media (prefers-color-scheme:dark){text{fill:#9aa7b3}.axis{stroke:#4a5a68}
.bar,.dot{stroke:#7db8f5}.dot{fill:#7db8f5}.picked .dot,.picked .bar{fill:#f2a25c;stroke:#f2a25c}}
</style>`;

/** Draws all candidates three times; hollow are those that were trained for fewer steps. */
export function searchPlot(candidates: readonly PlottedCandidate[], metric: Metric): string {
  const log = (value: number) => Math.log2(value);
  const panels = [
    panel(candidates, metric, { label: "rank", of: ({ rank }) => rank, scale: log }),
    panel(candidates, metric, {
      label: "parameters of the adapter",
      of: ({ parameters }) => parameters,
      scale: log,
    }),
    panel(candidates, metric, {
      label: "seconds of a whole training",
      of: ({ seconds }) => Math.round(seconds * 10) / 10,
      scale: (value) => value,
    }),
  ];
  const [width, height] = [panels.length * PANEL.width, PANEL.height + LEGEND_HEIGHT];
  const moved = panels.map((body, i) =>
    `<g transform="translate(${i * PANEL.width} 0)">${body}</g>`
  );
  const body = moved.join("") + legend(height);
  return document(`${metric} of each candidate`, candidates, metric, width, height, body);
}

/** Draws the metric of an adapter brought to several ranks. */
export function rankPlot(
  points: readonly { readonly rank: number; readonly value: number }[],
  metric: Metric,
): string {
  const candidates = points.map(({ rank, value }) => ({
    ...{ name: `rank ${rank}`, rank, value, least: value, most: value },
    ...{ parameters: 0, seconds: 0, finalist: true, picked: false },
  }));
  const body = panel(candidates, metric, {
    label: "rank",
    of: ({ rank }) => rank,
    scale: (value) => Math.log2(value),
  });
  return document(`${metric} by rank`, candidates, metric, PANEL.width, PANEL.height, body);
}

function document(
  title: string,
  candidates: readonly PlottedCandidate[],
  metric: Metric,
  width: number,
  height: number,
  body: string,
): string {
  const desc = candidates.map(({ name, value }) => `${name}: ${formatMetric(metric, value)}`);
  return `<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 ${width} ${height}" ` +
    `width="${width}" height="${height}"><title>${escaped(title)}</title>` +
    `<desc>${escaped(desc.join("; "))}</desc>${STYLE}${body}</svg>\n`;
}

interface Axis {
  readonly label: string;
  readonly of: (candidate: PlottedCandidate) => number;
  readonly scale: (value: number) => number;
}

/** Points with bars from the worst to the best seed. */
function panel(candidates: readonly PlottedCandidate[], metric: Metric, axis: Axis): string {
  const { width, height, left, right, top, bottom } = PANEL;
  const xs = candidates.map(axis.of);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const y0 = Math.min(...candidates.map(({ least }) => least));
  const y1 = Math.max(...candidates.map(({ most }) => most));
  const along = (share: number) => left + 8 + share * (width - left - right - 16);
  const px = (x: number) => along(shareOf(axis.scale(x), axis.scale(x0), axis.scale(x1)));
  const floor = height - bottom;
  const py = (y: number) => floor - 8 - shareOf(y, y0, y1) * (floor - top - 16);
  const points = candidates.map((candidate) => {
    const { name, value, least, most, finalist, picked } = candidate;
    const x = at(px(axis.of(candidate)));
    const kind = picked ? "picked" : finalist ? "final" : "early";
    return `<g class="${kind}"><title>${
      escaped(`${name}: ${formatMetric(metric, value)}`)
    }</title>` +
      `<path class="bar" d="M${x} ${at(py(least))}V${at(py(most))}"/>` +
      `<circle class="dot" cx="${x}" cy="${at(py(value))}" r="3.5"/></g>`;
  });
  const text = (x: number, y: number, what: string, anchor: string) =>
    `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${escaped(what)}</text>`;
  return `<path class="axis" d="M${left} ${top}V${floor}H${width - right}"/>${points.join("")}` +
    text(left - 4, py(y1) + 4, formatMetric(metric, y1), "end") +
    (y1 === y0 ? "" : text(left - 4, py(y0) + 4, formatMetric(metric, y0), "end")) +
    text(px(x0), floor + 15, String(x0), "middle") +
    (x1 === x0 ? "" : text(px(x1), floor + 15, String(x1), "middle")) +
    text((left + width - right) / 2, floor + 30, `${metric} against ${axis.label}`, "middle");
}

/** Where a value lies between two, 0 to 1; in the middle if they are one. */
const shareOf = (value: number, from: number, to: number) =>
  to === from ? 0.5 : (value - from) / (to - from);

function legend(height: number): string {
  const items = [
    ["picked", "recommended"],
    ["final", "trained to the end"],
    ["early", "fewer steps"],
  ];
  return items.map(([kind, text], i) => {
    const x = PANEL.left + i * 150;
    return `<g class="${kind}"><circle class="dot" cx="${x}" cy="${height - 12}" r="3.5"/></g>` +
      `<text x="${x + 10}" y="${height - 8}">${text}</text>`;
  }).join("");
}
