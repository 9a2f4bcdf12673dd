/** Reads the lines that a training adds to its `metrics.jsonl`. */
import { exists } from "../system/durable_files.ts";

/** A line in words, with its figures in OpenAI's names. */
export interface StepMetrics {
  readonly message: string;
  readonly data: Readonly<Record<string, number>>;
}

export class MetricsTail {
  /** Lines that were read. */
  #known: number;

  /** @param path a file that may not exist yet; what it has already is not reported */
  constructor(readonly path: string) {
    this.#known = this.#lines().length;
  }

  /** What was added since the last call. */
  fresh(): readonly StepMetrics[] {
    const lines = this.#lines();
    // A resume drops the lines after its checkpoint.
    const fresh = lines.slice(Math.min(this.#known, lines.length));
    this.#known = lines.length;
    return fresh.flatMap((line) => metricsOf(JSON.parse(line)) ?? []);
  }

  #lines(): readonly string[] {
    if (!exists(this.path)) return [];
    return Deno.readTextFileSync(this.path).split("\n").slice(0, -1);
  }
}

function metricsOf(line: Readonly<Record<string, unknown>>): StepMetrics | undefined {
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
