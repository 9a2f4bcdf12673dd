/** What a pull shows: a bar on a terminal, a line for each file and each tenth elsewhere. */
import type { RepositoryFile } from "../../hub/api.ts";
import type { PullPlan } from "../../hub/pull.ts";
import { formatBytes, formatSeconds } from "../terminal/format.ts";
import type { Terminal } from "../terminal/output.ts";

/** Least time between two drawings of the bar. */
const REDRAW_MS = 100;
const BAR_WIDTH = 20;
/** Files from this size on get lines on their way. */
const LARGE_BYTES = 50e6;
/** Variants that a line lists. */
const MOST_NAMES = 8;

/** Shows one pull. */
export class PullProgress {
  readonly #terminal: Terminal;
  readonly #done = new Map<string, number>();
  readonly #tenths = new Map<string, number>();
  /** Bytes that were there at the first look at each file: they tell nothing about speed. */
  #before = 0;
  #total = 0;
  #began = 0;
  #drawn = -Infinity;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  begin(repository: string, { variant, variants, files, missingBytes, commit }: PullPlan): void {
    if (variant !== undefined) {
      const others = variants.filter((name) => name !== variant.name);
      const more = others.length > MOST_NAMES ? ", …" : "";
      const rest = others.length === 0
        ? ""
        : `; --variant takes another: ${others.slice(0, MOST_NAMES).join(", ")}${more}`;
      this.#terminal.note(`Variant ${variant.name} (${variant.path})${rest}`);
    }
    this.#total = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.#began = performance.now();
    this.#terminal.note(
      `${repository} at ${commit.slice(0, 12)}: ${files.length} files, ` +
        `${formatBytes(this.#total)}, ${formatBytes(missingBytes)} to get`,
    );
  }

  bytes(file: RepositoryFile, done: number): void {
    const before = this.#done.get(file.path);
    if (before === undefined) this.#before += done;
    this.#done.set(file.path, done);
    if (this.#terminal.interactive) this.#draw(file);
    else if (file.sizeBytes >= LARGE_BYTES) this.#tell(file, done, before ?? done);
  }

  file(file: RepositoryFile): void {
    this.#done.set(file.path, file.sizeBytes);
    if (!this.#terminal.interactive) {
      this.#terminal.note(`${file.path}: ${formatBytes(file.sizeBytes)}, verified`);
    }
  }

  end(): void {
    if (this.#terminal.interactive) this.#terminal.status("");
  }

  #tell({ path, sizeBytes }: RepositoryFile, done: number, before: number): void {
    const tenth = Math.floor(10 * done / sizeBytes);
    if (tenth === (this.#tenths.get(path) ?? Math.floor(10 * before / sizeBytes))) return;
    this.#tenths.set(path, tenth);
    this.#terminal.note(`${path}: ${10 * tenth}% of ${formatBytes(sizeBytes)}`);
  }

  #draw({ path }: RepositoryFile): void {
    const now = performance.now();
    if (now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    const done = this.#done.values().reduce((sum, bytes) => sum + bytes, 0);
    const rate = (done - this.#before) / Math.max(1e-3, (now - this.#began) / 1000);
    const filled = Math.min(BAR_WIDTH, Math.floor(BAR_WIDTH * done / Math.max(1, this.#total)));
    const left = rate > 0 ? `  ${formatSeconds((this.#total - done) / rate)} left` : "";
    const line = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled) +
      `  ${formatBytes(done)} of ${formatBytes(this.#total)}  ${
        formatBytes(rate)
      }/s${left}  ${path}`;
    this.#terminal.status(line.slice(0, Math.max(0, this.#terminal.columns - 1)));
  }
}
