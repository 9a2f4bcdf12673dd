/** Reads the lines that a training adds to its `metrics.jsonl`. */
import { exists } from "../system/durable_files.ts";

/** A line in words, with its figures in OpenAI's names. */
export interface StepMetrics {
  readonly message: string;
  readonly data: Readonly<Record<string, number>>;
}

export class MetricsTail {
  /** Bytes that were read: whole lines. */
  #read = 0;

  /** @param path a file that may not exist yet; what it has already is not reported */
  constructor(readonly path: string) {
    this.#added();
  }

  /** What was added since the last call. */
  fresh(): readonly StepMetrics[] {
    return this.#added().flatMap((line) => metricsOf(line) ?? []);
  }

  /** Lines behind those that were read. */
  #added(): readonly string[] {
    if (!exists(this.path)) return [];
    using file = Deno.openSync(this.path);
    const { size } = file.statSync();
    // A resume drops the lines after its checkpoint.
    this.#read = Math.min(this.#read, size);
    const bytes = readFrom(file, this.#read, size);
    const whole = bytes.subarray(0, bytes.lastIndexOf(LINE_END) + 1);
    this.#read += whole.length;
    return new TextDecoder().decode(whole).split("\n").slice(0, -1);
  }
}

const LINE_END = "\n".charCodeAt(0);

/** Bytes of a file from `start` to `end`, or to where it ends. */
function readFrom(file: Deno.FsFile, start: number, end: number): Uint8Array {
  file.seekSync(start, Deno.SeekMode.Start);
  const bytes = new Uint8Array(end - start);
  let done = 0;
  while (done < bytes.length) {
    const count = file.readSync(bytes.subarray(done));
    if (count === null) break;
    done += count;
  }
  return bytes.subarray(0, done);
}

function metricsOf(text: string): StepMetrics | undefined {
  let line: Readonly<Record<string, unknown>>;
  try {
    line = JSON.parse(text);
  } catch {
    return undefined; // the rest of a line, where a resume has replaced those before
  }
  const numbers = (names: Readonly<Record<string, string>>) =>
    Object.fromEntries(
      Object.entries(names).map(([name, key]) => [name, line[key]])
        .filter((entry): entry is [string, number] => typeof entry[1] === "number"),
    );
  const { step, loss, val_loss: validation } = line;
  if (typeof loss === "number") {
    return {
      message: `Step ${step}: training loss=${loss.toFixed(4)}`,
      data: numbers({
        step: "step",
        train_loss: "loss",
        learning_rate: "learning_rate",
        tokens_per_second: "tokens_per_second",
      }),
    };
  }
  if (typeof validation !== "number") return undefined;
  return {
    message: `Step ${step}: validation loss=${validation.toFixed(4)}`,
    data: numbers({
      step: "step",
      valid_loss: "val_loss",
      valid_mean_token_accuracy: "val_accuracy",
    }),
  };
}
