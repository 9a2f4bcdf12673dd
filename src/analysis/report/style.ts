/** Style of the report: light and dark in the page, light in pictures of their own. */
import { HEAT_STEPS } from "./heat_map.ts";

type Colour = readonly [number, number, number];
type Theme = "light" | "dark";

/** From little to much: towards the ink, away from the page's ground, in both themes. */
const HEAT: Readonly<Record<Theme, readonly [Colour, Colour, Colour]>> = {
  light: [[238, 243, 249], [88, 146, 199], [8, 40, 92]],
  dark: [[27, 36, 48], [45, 108, 168], [205, 229, 255]],
};

/** Colours by name: `ground`, `ink`, of the adapters `a0` and `a1`, of the heat maps' steps `h0`… */
type Colours = Readonly<Record<string, string>>;

const COLOURS: Readonly<Record<Theme, Colours>> = {
  light: {
    ground: "#fff",
    ink: "#1b2530",
    soft: "#5a6773",
    rule: "#d5dce3",
    a0: "#1f66b0",
    a1: "#b3530c",
    ...heatColours("light"),
  },
  dark: {
    ground: "#12181f",
    ink: "#e6ebf0",
    soft: "#9aa7b3",
    rule: "#33404c",
    a0: "#7db8f5",
    a1: "#f2a25c",
    ...heatColours("dark"),
  },
};

function heatColours(theme: Theme): Colours {
  const [from, middle, to] = HEAT[theme];
  return Object.fromEntries(
    Array.from({ length: HEAT_STEPS }, (_, i) => {
      const place = 2 * i / (HEAT_STEPS - 1);
      const [a, b, t] = place <= 1 ? [from, middle, place] : [middle, to, place - 1];
      const mixed = a.map((value, c) => Math.round(value + (b[c] - value) * t));
      return [`h${i}`, `rgb(${mixed.join(" ")})`];
    }),
  );
}

/**
 * Rules of what is inside of pictures.
 *
 * @param colour text of a colour by its name
 */
function pictureRules(colour: (name: string) => string): string {
  const heat = Array.from({ length: HEAT_STEPS }, (_, i) => `.h${i}{fill:${colour(`h${i}`)}}`);
  return `svg text{font-size:11px;fill:${colour("soft")}}
.frame,.axis{fill:none;stroke:${colour("rule")}}
.line{fill:none;stroke-width:1.6}.line.w{stroke:${colour("soft")}}
.line.merged{stroke:${colour("ink")};stroke-dasharray:2 3}
.line.a0{stroke:${colour("a0")}}.line.a1{stroke:${colour("a1")};stroke-dasharray:7 3}
.dot.w{fill:${colour("soft")}}.dot.merged{fill:${colour("ink")}}
.dot.a0{fill:${colour("a0")}}.dot.a1{fill:${colour("a1")}}
${heat.join("")}`;
}

/**
 * The style of a picture that is a file of its own, in the light theme. It has no variables and no
 * media queries, which programs that draw SVG do not know.
 */
export function pictureStyle(): string {
  const { ground, ink } = COLOURS.light;
  return `${pictureRules((name) => COLOURS.light[name])}
.ground{fill:${ground}}svg text.title{font-size:13px;fill:${ink}}svg text.label{fill:${ink}}`;
}

const variables = (theme: Theme) =>
  Object.entries(COLOURS[theme]).map(([name, value]) => `--${name}:${value}`).join(";");

/** The page's style sheet. */
export function style(): string {
  return `
:root{color-scheme:light dark;${variables("light")}}
@media (prefers-color-scheme:dark){:root{${variables("dark")}}}
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
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding:0;font-size:.85rem}
summary{cursor:pointer;margin:.75rem 0}
${pictureRules((name) => `var(--${name})`)}`;
}
