/**
 * Writes docs/analyze.svg, the mean similarity of two adapters' subspaces as heat maps:
 *
 * `deno run -A scripts/figures/similarity.ts MODEL ADAPTER ADAPTER`, then `deno fmt docs/analyze.svg`
 */
import { heatMap, heatScale } from "../../src/analysis/report/heat_map.ts";
import { type Drawing, svg } from "../../src/analysis/report/html.ts";
import { meanSimilarity } from "../../src/analysis/report/mean_similarity.ts";
import { style } from "../../src/analysis/report/style.ts";
import { analyze } from "../../src/tasks/analyze.ts";

const PICTURE = new URL("../../docs/analyze.svg", import.meta.url);
const [WIDTH, HEIGHT] = [1010, 240];

/** A picture inside another one; its frame cuts nothing off. */
const placed = (picture: Drawing, x: number, y: number) =>
  svg(picture).replace("<svg ", `<svg x="${x}" y="${y}" overflow="visible" `);

const [model, ...adapterPath] = Deno.args;
const { matrices } = await analyze({ model, adapterPath, spectra: false });
const pairs = matrices.flatMap(({ pair }) => pair ?? []);
const maps = (["inputs", "outputs"] as const).map((side, i) => {
  const mean = meanSimilarity(pairs.map((pair) => pair[side]))!;
  const title = `φ(i, j) of the ${side}, mean of ${mean.count} matrices`;
  const x = 500 * i;
  return `<text x="${x + 34}" y="60">${title}</text>` +
    placed(heatMap(mean.values, { title, size: 448 }), x, 66);
});
Deno.writeTextFileSync(
  PICTURE,
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif">` +
    `<title>Similarity of the subspaces of two adapters</title><style>${style()}` +
    `.ground{fill:var(--ground)}</style><rect class="ground" width="${WIDTH}" height="${HEIGHT}"/>` +
    `${placed(heatScale(), 34, 10)}${maps.join("")}</svg>\n`,
);
console.log(`${PICTURE.pathname} is written`);
