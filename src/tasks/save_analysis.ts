/** Writes an analysis as a report. */
import { join } from "@std/path";
import type { Analysis } from "../analysis/analysis.ts";
import { analysisJson } from "../analysis/analysis_json.ts";
import { reportPage } from "../analysis/report/page.ts";
import { reportPictures } from "../analysis/report/pictures.ts";
import { pngPainter } from "../analysis/report/png.ts";
import { makeDirectory, replaceFile } from "../system/durable_files.ts";
import { openDrawingFiles } from "./drawing_files.ts";

/** Pixels of a PNG for one of the report: 340 dots per inch in a column of 3.3 inches. */
const PNG_SCALE = 3;

/** A report that was written. */
export interface SavedReport {
  /** Path of the page. */
  readonly page: string;
  /** Names of the pictures without their endings: each is there as `.svg` and as `.png`. */
  readonly pictures: readonly string[];
}

/**
 * Writes `report.html`, one page without scripts or anything from elsewhere, `report.json` with all
 * figures, and the page's pictures as files for papers: drift by layer and over steps, mean similarity, and
 * spectra and similarity of each matrix if there are at most 16. Older ones of the same names are replaced.
 *
 * @param folder made if it is missing
 * @throws {StorageError} naming what could not be written
 */
export async function saveAnalysis(folder: string, analysis: Analysis): Promise<SavedReport> {
  makeDirectory(folder);
  const put = (name: string, content: string | Uint8Array) => {
    const path = join(folder, name);
    replaceFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
    return path;
  };
  put("report.json", analysisJson(analysis));
  const page = put("report.html", reportPage(analysis));
  const pictures = reportPictures(analysis);
  using files = openDrawingFiles();
  const paint = await pngPainter(files);
  for (const { name, svg } of pictures) {
    put(`${name}.svg`, svg);
    put(`${name}.png`, paint(svg, PNG_SCALE));
  }
  return { page, pictures: pictures.map(({ name }) => name) };
}
