/**
 * The folder in which the process without network leaves the box's report for the one that has it, which
 * may be another user's.
 */
import { join } from "@std/path";
import { changeMode, copyFile, makeDirectory, replaceFile } from "../../system/durable_files.ts";
import { readSmallFile } from "../../system/small_file.ts";
import {
  type BoxReport,
  decodeReport,
  encodeReport,
  MOST_REPORT_BYTES,
} from "../release/report.ts";

const REPORT = "report.json";
const [FOLDER_MODE, FILE_MODE] = [0o755, 0o644];

export class Outbox {
  constructor(readonly folder: string) {}

  /** The last report; `undefined` if there is none of this box. */
  read(box: string): BoxReport | undefined {
    const bytes = readSmallFile(join(this.folder, REPORT), MOST_REPORT_BYTES);
    return bytes && decodeReport(bytes, box);
  }

  write(report: BoxReport): void {
    makeDirectory(this.folder);
    changeMode(this.folder, FOLDER_MODE);
    // Under its name it has its permissions from the first moment on.
    const draft = join(this.folder, `.${REPORT}`);
    replaceFile(draft, encodeReport(report));
    copyFile(draft, join(this.folder, REPORT), FILE_MODE);
  }
}
