import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fileNames } from "../../src/analysis/report/file_names.ts";
import { heatMap } from "../../src/analysis/report/heat_map.ts";
import { MOST_MATRICES, reportPictures } from "../../src/analysis/report/pictures.ts";
import { cut } from "../../src/analysis/report/standalone.ts";
import { analysisOf, HOSTILE } from "../helpers/analyses.ts";

const namesOf = (adapters: readonly string[], paths: readonly string[]) =>
  reportPictures(analysisOf(adapters, paths)).map(({ name }) => name);

Deno.test("reportPictures() of two adapters: summary, then spectra and similarity of each matrix", () => {
  assertEquals(namesOf(["a", "b"], ["l.0.q", "l.1.q"]), [
    ...["drift-by-layer", "drift-over-steps", "similarity-inputs", "similarity-outputs"],
    ...["singular-values-l.0.q", "similarity-inputs-l.0.q", "similarity-outputs-l.0.q"],
    // B of one adapter is zero here: it has no directions of outputs.
    ...["singular-values-l.1.q", "similarity-inputs-l.1.q"],
  ]);
  assertEquals(namesOf(["a"], ["l.0.q"]), [
    ...["drift-by-layer", "drift-over-steps", "singular-values-l.0.q"],
  ]);
});

Deno.test("reportPictures() of many matrices has the summary only", () => {
  const paths = Array.from({ length: MOST_MATRICES + 1 }, (_, i) => `l.${i}`);
  assertEquals(namesOf(["a", "b"], paths).length, 4);
  assert(namesOf(["a", "b"], paths.slice(1)).length > 4 + MOST_MATRICES);
});

Deno.test("pictures are whole SVG files with resolved colours, title, labels and key", () => {
  const pictures = reportPictures(analysisOf(["lamp", "mill"], ["q_proj"]));
  for (const { name, svg } of pictures) {
    assertMatch(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="\d+" height="\d+" /);
    assert(!/var\(|@media|href|url\(|NaN|undefined|Infinity/.test(svg), name);
    assert(!svg.includes("…"), `${name} has room for its own texts`);
    // Each class of an element has its rule.
    for (const [, names] of svg.matchAll(/class="([^"]+)"/g)) {
      const [first] = names.split(" ");
      assertStringIncludes(svg, `.${first}`, name);
    }
  }
  const textsOf = (wanted: string) => {
    const { svg } = pictures.find(({ name }) => name === wanted)!;
    return [...svg.matchAll(/<text[^>]*>([^<]*)/g)].map(([, text]) => text);
  };
  const drift = textsOf("drift-by-layer");
  for (const text of ["Drift by layer", "layer", "‖ΔW‖/‖W‖", "lamp", "mill"]) {
    assert(drift.includes(text), text);
  }
  const similarity = textsOf("similarity-inputs");
  for (
    const text of ["Mean similarity of the inputs, 1 matrix", "i of lamp", "j of mill", "φ = 0"]
  ) {
    assert(similarity.includes(text), text);
  }
  const spectrum = textsOf("singular-values-q_proj");
  for (const text of ["Singular values, 9×7", "q_proj", "W", "W&#39;", "ΔW of lamp"]) {
    assert(spectrum.includes(text), `${text}: ${spectrum}`);
  }
});

Deno.test("names of modules are text in pictures, and no paths in names of files", () => {
  const paths = [HOSTILE, "../../etc/passwd", "\u0001\ud800]]>&amp;", "x".repeat(5000)];
  const pictures = reportPictures(analysisOf([HOSTILE, "\u0000"], paths));
  for (const { name, svg } of pictures) {
    assertMatch(name, /^[a-z][A-Za-z0-9._-]{0,199}$/);
    assert(!svg.includes("<script"), name);
    // What XML does not have.
    assert(!/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(svg), name);
  }
  assertEquals(new Set(pictures.map(({ name }) => name.toLowerCase())).size, pictures.length);
});

Deno.test("fileNames() tells modules apart whose names are alike", () => {
  const name = fileNames();
  const given = ["a/q", "a.q", "A_q", "a_q-2", "a_q", ""].map((path) => name("map", path));
  assertEquals(given, ["map-a_q", "map-a.q", "map-A_q-2", "map-a_q-2-2", "map-a_q-3", "map-"]);
});

Deno.test("cut() keeps the end of a long name, and a bit of its beginning", () => {
  assertEquals(cut("short", 100), "short");
  const long = cut("/home/someone/adapters/with/long/names/r8", 100);
  assertMatch(long, /^\/ho…/);
  assert(long.endsWith("/names/r8") && long.length <= 100 / 6, long);
  assertEquals(cut("x".repeat(100), 0), "…");
});

Deno.test("heatMap() says where its cells are", () => {
  const { plot, width, height } = heatMap([[0, 1], [1, 0]], { title: "t", size: 100 });
  assert(plot.x + plot.width <= width && plot.y + plot.height <= height);
  assertEquals(plot.width, 100);
});
