/** PNG files of reports: resvg and the font are read, so not in tests/pure. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { heatMap, heatScale } from "../../src/analysis/report/heat_map.ts";
import { pngPainter } from "../../src/analysis/report/png.ts";
import { reportPictures } from "../../src/analysis/report/pictures.ts";
import { standalone } from "../../src/analysis/report/standalone.ts";
import { openDrawingFiles } from "../../src/tasks/drawing_files.ts";
import { analysisOf, HOSTILE } from "../helpers/analyses.ts";
import { type Pixels, pngPixels, pngSize } from "../helpers/png_pixels.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

async function painted(svg: string, scale = 1): Promise<Pixels> {
  using files = openDrawingFiles();
  const paint = await pngPainter(files);
  return pngPixels(paint(svg, scale));
}

const picture = (body: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30" viewBox="0 0 60 30" ` +
  `font-family="DejaVu Sans, sans-serif"><rect width="60" height="30" fill="#fff"/>${body}</svg>`;

/** Pixels of a rectangle that have no colour of the ground. */
function inked(pixels: Pixels, x: number, y: number, width: number, height: number): string[] {
  const found: string[] = [];
  for (let j = y; j < y + height; j++) {
    for (let i = x; i < x + width; i++) {
      if (pixels.at(i, j).some((value) => value < 128)) found.push(`${i - x} ${j - y}`);
    }
  }
  return found;
}

Deno.test("pngPainter() draws a heat map's cells in the colours of its scale, at any resolution", async () => {
  const map = heatMap([[0.05, 0.95], [0.45, 0.05]], { title: "t", size: 64 });
  const around = { title: "Title", subtitle: "Subtitle", yLabel: "rows", xLabel: "columns" };
  const svg = standalone(map, { ...around, key: heatScale() });
  const [, width, height] = /width="(\d+)" height="(\d+)"/.exec(svg)!.map(Number);
  const [, left, top] = /<g transform="translate\((\d+) (\d+)\)"/.exec(svg)!.map(Number);
  for (const scale of [1, 3]) {
    const pixels = await painted(svg, scale);
    assertEquals([pixels.width, pixels.height], [scale * width, scale * height]);
    const cell = (row: number, col: number) =>
      pixels.at(
        Math.round(scale * (left + map.plot.x + map.plot.width * (col + 0.5) / 2)),
        Math.round(scale * (top + map.plot.y + map.plot.height * (row + 0.5) / 2)),
      );
    assertEquals(cell(0, 0), [238, 243, 249]);
    assertEquals(cell(0, 1), [8, 40, 92]);
    assertEquals(cell(1, 0), [105, 157, 205]);
    assertEquals(cell(1, 1), cell(0, 0));
    assertEquals(pixels.at(width * scale - 1, 0), [255, 255, 255]);
    // Title and subtitle, and the label of y beside the map.
    for (
      const [x, y, wide, high] of [[10, 6, 40, 16], [10, 26, 50, 12], [0, 44, 18, height - 44]]
    ) {
      const box = inked(pixels, x * scale, y * scale, wide * scale, high * scale);
      assert(box.length > 8 * scale ** 2, `${x} ${y}: ${box.length}`);
    }
  }
});

Deno.test("pngPainter() has the letters that labels need, and draws others as boxes", async () => {
  const drawn = async (letter: string) => {
    const pixels = await painted(picture(`<text x="5" y="20" font-size="16">${letter}</text>`));
    return inked(pixels, 0, 0, 60, 30).join();
  };
  const box = await drawn("\u{10FFFD}");
  assertNotEquals(box, "");
  const letters = ["φ", "‖", "Δ", "₁", "×", "…", "–", "W", "é"];
  const shapes = await Promise.all(letters.map(drawn));
  for (const [i, shape] of shapes.entries()) assert(shape !== "" && shape !== box, letters[i]);
  assertEquals(new Set(shapes).size, letters.length);
});

Deno.test("pngPainter() reads no files that a picture names", () =>
  inTempDir(async (folder) => {
    using files = openDrawingFiles();
    const paint = await pngPainter(files);
    const red = `${folder}/red.png`;
    Deno.writeFileSync(red, paint(picture(`<rect width="60" height="30" fill="#f00"/>`), 1));
    assertEquals(pngPixels(Deno.readFileSync(red)).at(30, 15), [255, 0, 0]);
    for (const href of [red, `file://${red}`]) {
      const pixels = pngPixels(
        paint(picture(`<image href="${href}" width="60" height="30"/>`), 1),
      );
      assertEquals(pixels.at(30, 15), [255, 255, 255]);
    }
  }));

Deno.test("pngPainter() draws whatever modules are named", async () => {
  const names = [
    HOSTILE,
    "\u0000\u0001\ud800 ]]> &amp; &#0; <!DOCTYPE a [<!ENTITY b 'c'>]>",
    "עברית \u202e עם \u200d e\u0301\u0301\u0301 ͏‍🦙",
    "x".repeat(10_000),
    "",
  ];
  using files = openDrawingFiles();
  const paint = await pngPainter(files);
  for (const path of names) {
    for (const { svg } of reportPictures(analysisOf([path, path], [path])).slice(-2)) {
      const [width, height] = pngSize(paint(svg, 1));
      assert(width < 500 && height < 500);
    }
  }
});
