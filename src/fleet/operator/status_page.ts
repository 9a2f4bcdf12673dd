/** A fleet's state as one HTML file, without scripts and without anything beside it. */
import type { BoxReport } from "../release/report.ts";
import type { FleetStatus } from "./status.ts";

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
.bar { display: flex; height: 1.2rem; border-radius: 4px; overflow: hidden; margin: 1rem 0; }
.bar i { display: block; min-width: 2px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #8884; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.s { white-space: nowrap; }
.s::before { content: ""; display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .5em; background: var(--c); }
.why { font-size: .85em; opacity: .8; overflow-wrap: anywhere; }
`;

const COLOURS: Readonly<Record<BoxReport["state"], string>> = {
  promoted: "#2a9d5b",
  settled: "#5b8def",
  waiting: "#9aa0a6",
  fetching: "#e0b400",
  installing: "#e0b400",
  rejected: "#d97a00",
  failed: "#cf3b3b",
  refused: "#8b1e5d",
};

/**
 * The page.
 *
 * @param fleet its name
 */
export function statusPage({ order, wave, boxes }: FleetStatus, fleet: string): string {
  const title = `Fleet ${fleet}: ${order.target?.name ?? "no release"}`;
  const counts = new Map<BoxReport["state"], number>();
  for (const { state } of boxes) counts.set(state, (counts.get(state) ?? 0) + 1);
  const bar = [...counts].map(([state, count]) =>
    `<i style="flex:${count};background:${COLOURS[state]}" title="${count} ${state}"></i>`
  ).join("");
  const legend = [...counts].map(([state, count]) => stateCell(state, `${count} ${state}`)).join(
    " · ",
  );
  const decided = wave.promoted + wave.rejected + wave.failed;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(title)}</title><style>${STYLE}</style>
<h1>${escape(title)}</h1>
<p>Order ${order.sequence}, ${escape(order.issuedAt)}: ${escape(order.why)}</p>
<p>Wave ${order.wave + 1} of ${order.waves.length} (${escape(order.waves.join(", "))}):
${decided} of ${wave.boxes} boxes decided, ${wave.promoted} promoted, ${wave.rejected} rejected,
${wave.failed} failed.</p>
<div class="bar">${bar}</div><p>${legend}</p>
<table><thead><tr><th>Box</th><th>In use</th><th>State</th><th class="n">Loss</th>
<th class="n">Before</th><th class="n">Gain kept</th><th>Reported</th></tr></thead><tbody>
${boxes.map(row).join("\n")}
</tbody></table></html>
`;
}

function row({ box, inUse, state, loss, lossInUse, gainKept, at, why }: BoxReport): string {
  const figure = (value: number | undefined) => value === undefined ? "–" : value.toFixed(4);
  const kept = gainKept === undefined ? "–" : `${(100 * gainKept).toFixed(1)}%`;
  const reason = why === undefined ? "" : `<div class="why">${escape(why)}</div>`;
  return `<tr><td>${escape(box)}</td><td>${escape(inUse)}</td><td>${
    stateCell(state, state)
  }${reason}</td>` +
    `<td class="n">${figure(loss)}</td><td class="n">${
      figure(lossInUse)
    }</td><td class="n">${kept}</td>` +
    `<td>${escape(at.slice(0, 19))}Z</td></tr>`;
}

const stateCell = (state: BoxReport["state"], text: string) =>
  `<span class="s" style="--c:${COLOURS[state]}">${escape(text)}</span>`;

/** Texts that boxes wrote, in HTML. */
function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
