/** Style of the report: light and dark, without anything from elsewhere. */
import { HEAT_STEPS } from "./heat_map.ts";

type Colour = readonly [number, number, number];

/** From little to much: towards the ink, away from the page's ground, in both themes. */
const HEAT: Readonly<Record<"light" | "dark", readonly [Colour, Colour, Colour]>> = {
  light: [[238, 243, 249], [88, 146, 199], [8, 40, 92]],
  dark: [[27, 36, 48], [45, 108, 168], [205, 229, 255]],
};

function heatColours(theme: "light" | "dark"): string {
  const [from, middle, to] = HEAT[theme];
  return Array.from({ length: HEAT_STEPS }, (_, i) => {
    const place = 2 * i / (HEAT_STEPS - 1);
    const [a, b, t] = place <= 1 ? [from, middle, place] : [middle, to, place - 1];
    const mixed = a.map((value, c) => Math.round(value + (b[c] - value) * t));
    return `--h${i}:rgb(${mixed.join(" ")})`;
  }).join(";");
}

/** The page's style sheet. */
export function style(): string {
  const heat = Array.from({ length: HEAT_STEPS }, (_, i) => `.h${i}{fill:var(--h${i})}`).join("");
  return `
:root{color-scheme:light dark;--ground:#fff;--ink:#1b2530;--soft:#5a6773;--rule:#d5dce3;
--a0:#1f66b0;--a1:#b3530c;${heatColours("light")}}
@media (prefers-color-scheme:dark){:root{--ground:#12181f;--ink:#e6ebf0;--soft:#9aa7b3;--rule:#33404c;
--a0:#7db8f5;--a1:#f2a25c;${heatColours("dark")}}}
body{background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;margin:0 auto;
max-width:70rem;padding:1.5rem}
h1,h2,h3{line-height:1.25}h3{font-size:1rem;margin:1.5rem 0 .25rem;overflow-wrap:anywhere}
p{max-width:46rem}code{font-size:.9em}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;margin:1rem 0}
caption{text-align:left;font-weight:600;padding:.25rem 0}
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
th:first-child{text-align:left}th[scope=row]{font-weight:400}
.grid{display:flex;flex-wrap:wrap;gap:1rem 1.5rem}figure{margin:0;max-width:100%;overflow-x:auto}
figcaption{font-size:.85rem;color:var(--soft);max-width:24rem;overflow-wrap:anywhere}
svg text{font-size:11px;fill:var(--soft)}.frame,.axis{fill:none;stroke:var(--rule)}
.line{fill:none;stroke-width:1.6}.line.w{stroke:var(--soft)}
.line.merged{stroke:var(--ink);stroke-dasharray:2 3}
.line.a0{stroke:var(--a0)}.line.a1{stroke:var(--a1);stroke-dasharray:7 3}
.dot.w{fill:var(--soft)}.dot.merged{fill:var(--ink)}.dot.a0{fill:var(--a0)}.dot.a1{fill:var(--a1)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding:0;font-size:.85rem}
summary{cursor:pointer;margin:.75rem 0}${heat}`;
}
