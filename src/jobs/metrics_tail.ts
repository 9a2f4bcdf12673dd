/** Reads the lines that a training adds to its `metrics.jsonl`. */
import { readAt } from "../system/read_at.ts";
import { openRegularFile, regularFileSize } from "../system/regular_file.ts";

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
    const size = regularFileSize(this.path);
    if (size === undefined) return [];
    using file = openRegularFile(this.path);
    // A resume drops the lines after its checkpoint.
    this.#read = Math.min(this.#read, size);
    const bytes = new Uint8Array(size - this.#read);
    const there = bytes.subarray(0, readAt(file, this.#read, bytes));
    const whole = there.subarray(0, there.lastIndexOf(LINE_END) + 1);
    this.#read += whole.length;
    return new TextDecoder().decode(whole).split("\n").slice(0, -1);
  }
}

const LINE_END = "\n".charCodeAt(0);

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
