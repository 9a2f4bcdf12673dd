/** Writes an analysis as a report. */
import { join } from "@std/path";
import type { Analysis } from "../analysis/analysis.ts";
import { analysisJson } from "../analysis/analysis_json.ts";
import { reportPage } from "../analysis/report/page.ts";
import { makeDirectory, replaceFile } from "../system/durable_files.ts";

/**
 * Writes `report.html`, one page without scripts or anything from elsewhere, and `report.json` with all
 * figures; older ones are replaced.
 *
 * @param folder made if it is missing
 * @returns the path of the page
 * @throws {StorageError} naming what could not be written
 */
export function saveAnalysis(folder: string, analysis: Analysis): string {
  makeDirectory(folder);
  const put = (name: string, text: string) => {
    const path = join(folder, name);
    replaceFile(path, new TextEncoder().encode(text));
    return path;
  };
  put("report.json", analysisJson(analysis));
  return put("report.html", reportPage(analysis));
}
