/** `metrics.jsonl`: one JSON object per report and per evaluation. */
import { asFlag } from "../config/parameter.ts";
import { StorageError, worded } from "../errors.ts";
import { replaceFile } from "../system/durable_files.ts";
import { regularFileSize } from "../system/regular_file.ts";
import type { TrainCallbacks } from "../train/events.ts";

/** Appends to a metrics file; each line is whole or absent. */
export class MetricsFile implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;

  /**
   * Opens the file.
   *
   * @param fromStep the step that the run resumes from: lines of later steps are dropped, since they are
   *   about to be written again; 0 begins a new file
   * @throws {StorageError} naming the path
   */
  constructor(path: string, fromStep: number) {
    this.#path = path;
    replaceFile(path, new TextEncoder().encode(linesUntil(path, fromStep)));
    try {
      this.#file = Deno.openSync(path, { append: true });
    } catch (error) {
      throw new StorageError(`Cannot open ${path}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Appends one object. */
  append(record: Readonly<Record<string, number | string | undefined>>): void {
    try {
      const bytes = new TextEncoder().encode(JSON.stringify(record) + "\n");
      let done = 0;
      while (done < bytes.length) done += this.#file.writeSync(bytes.subarray(done));
    } catch (error) {
      throw new StorageError(`Cannot write ${this.#path}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** Callbacks that write a run's reports. */
  callbacks(peakMemoryBytes: () => number): TrainCallbacks {
    return {
      onReport: (report) =>
        this.append({
          step: report.step,
          epoch: report.epoch,
          loss: report.loss,
          learning_rate: report.learningRate,
          tokens_per_second: report.tokensPerSecond,
          grad_norm: report.gradNorm,
          peak_memory_mb: Math.round(peakMemoryBytes() / 1e6),
          seconds: report.seconds,
          wait_share: report.waitShare,
        }),
      onEvaluate: ({ step, loss, accuracy, seconds }) =>
        this.append({ step, val_loss: loss, val_accuracy: accuracy, seconds }),
      onSkip: ({ step, reason }) => this.append({ step, skipped: reason }),
      onPause: ({ step, reason }) => this.append({ step, paused: worded(reason, asFlag) }),
      onGoOn: ({ step, seconds }) => this.append({ step, paused_seconds: seconds }),
    };
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

function linesUntil(path: string, step: number): string {
  if (step === 0 || regularFileSize(path) === undefined) return "";
  let content: string;
  try {
    content = Deno.readTextFileSync(path);
  } catch (error) {
    throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  return content.split("\n").filter((line) => {
    try {
      return JSON.parse(line).step <= step;
    } catch {
      return false; // the empty end, or a line that a kill cut short
    }
  }).map((line) => line + "\n").join("");
}
