import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { analysisJson } from "../../src/analysis/analysis_json.ts";
import { heatMap } from "../../src/analysis/report/heat_map.ts";
import { axisFigure, escaped, figure, svg } from "../../src/analysis/report/html.ts";
import { lineChart } from "../../src/analysis/report/line_chart.ts";
import { meanSimilarity } from "../../src/analysis/report/mean_similarity.ts";
import { reportPage } from "../../src/analysis/report/page.ts";
import { analysisOf, HOSTILE } from "../helpers/analyses.ts";

Deno.test("reportPage() escapes names, and needs no script and nothing from elsewhere", () => {
  const page = reportPage(analysisOf([HOSTILE, "b"], [HOSTILE, "k_proj"]));
  assert(!/<script|<link|<img|<iframe|\son\w+=|href=|src=|url\(/i.test(page));
  assert(!page.includes("https:") && !page.includes("http:"));
  assertStringIncludes(page, escaped(HOSTILE));
  assertStringIncludes(page, "default-src 'none'; style-src 'unsafe-inline'");
  assertStringIncludes(page, "prefers-color-scheme:dark");
});

Deno.test("reportPage() describes each picture in words, and has tables with captions", () => {
  const page = reportPage(analysisOf(["a", "b"], ["q_proj", "v_proj"]));
  const pictures = page.match(/<svg role="img"[^>]*>(?!<title>[^<]+<\/title><desc>[^<]+<\/desc>)/g);
  assertEquals(pictures, null);
  // Drift by layer and by step, the scale, two means, two maps of the matrix with both, two spectra.
  assertEquals(page.match(/<svg role="img"/g)!.length, 5 + 3 + 2);
  assertEquals(page.match(/<table>/g)!.length, page.match(/<caption>/g)!.length);
  assert(!page.includes("NaN") && !page.includes("undefined") && !page.includes("Infinity"));
  assertMatch(page, /<th scope="row">0<\/th><td>1.23%<\/td><td>4.56%<\/td>/);
  const one = reportPage(analysisOf(["a"], ["q_proj", "v_proj"]));
  assert(!one.includes("Two adapters compared") && !one.includes("NaN"));
});

Deno.test("heatMap() draws a cell for each value, and samples large grids", () => {
  const cells = (rows: number, cols: number) => {
    const values = Array.from({ length: rows }, () => Array.from({ length: cols }, () => 0.55));
    return svg(heatMap(values, { title: "t" })).match(/class="h5" d="([^"]*)"/)![1].split("z")
      .length -
      1;
  };
  assertEquals([cells(1, 1), cells(3, 5), cells(200, 100)], [1, 15, 64 * 64]);
  // 1 is in the last step, rounding errors beyond it too.
  assertStringIncludes(svg(heatMap([[1.0000001, 0]], { title: "t" })), 'class="h9"');
  assertMatch(
    svg(heatMap([[0.25, 1]], { title: "t" })),
    /<desc>Grid of 1 by 2 .* φ\(1, 1\) is 0\.25/,
  );
});

Deno.test("lineChart() leaves out what a logarithm does not have, and draws a lone point", () => {
  const line = (points: readonly (readonly [number, number])[]) => ({
    name: "n",
    style: "w",
    points,
  });
  const chart = lineChart([line([[1, 10], [2, 1], [3, 0]]), line([])], {
    title: "t",
    xLabel: "x",
    logarithmic: true,
  });
  assertEquals(chart.body.match(/points="([^"]*)"/)![1].split(" ").length, 2);
  const lone = lineChart([line([[1, 5]])], { title: "t", xLabel: "x" });
  assertStringIncludes(lone.body, "<circle");
  const empty = svg(lineChart([line([])], { title: "t", xLabel: "x", logarithmic: true }));
  assert(!/Infinity|NaN/.test(empty), empty);
  const long = Array.from({ length: 5000 }, (_, i) => [i, i] as const);
  const thin = lineChart([line(long)], { title: "t", xLabel: "x" });
  assertEquals(thin.body.match(/points="([^"]*)"/)![1].split(" ").length, 96);
});

Deno.test("meanSimilarity() takes the most frequent size", () => {
  assertEquals(meanSimilarity([[[0.5]], [[1, 0]], [[0, 1]], []]), {
    values: [[0.5, 0.5]],
    count: 2,
  });
  assertEquals(meanSimilarity([[], [[]]]), undefined);
});

Deno.test("figures are short, and a dash where there are none", () => {
  assertEquals([figure(1234.56), figure(0.123456), figure(null), figure(NaN)], [
    ...["1235", "0.1235", "–", "–"],
  ]);
  assertEquals([axisFigure(0), axisFigure(82.04), axisFigure(0.00108)], ["0", "82.04", "1.1e-3"]);
});

Deno.test("analysisJson() writes snake_case and seven digits", () => {
  const text = analysisJson(analysisOf(["a"], ["q_proj"]));
  const { matrices: [matrix] } = JSON.parse(text);
  assertEquals(Object.keys(matrix.updates[0].directions), [
    ...["count", "of_update", "of_weight", "of_random", "amplification"],
  ]);
  assert(/"norm": \d\.\d{0,6},/.test(text));
});
