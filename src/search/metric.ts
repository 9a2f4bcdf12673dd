/** By which number candidates are compared, and how it is worded. */
import type { Difference } from "./paired_difference.ts";

/** Metrics of a search. */
export const SEARCH_METRICS = ["auto", "accuracy", "loss", "perplexity"] as const;

/** A metric; `auto` is accuracy where the task has it, else loss. */
export type SearchMetric = typeof SEARCH_METRICS[number];

/** A metric that is decided. */
export type Metric = Exclude<SearchMetric, "auto">;

/** What a validation measures. */
export interface Validated {
  /** Mean loss in nats. */
  readonly loss: number;
  /** Share of right answers, if the task has them. */
  readonly accuracy?: number;
}

/** A validation as a score: higher is better. */
export function scoreOf(metric: Metric, { loss, accuracy }: Validated): number {
  switch (metric) {
    case "accuracy":
      return accuracy ?? NaN;
    case "loss":
      return -loss;
    case "perplexity":
      return -Math.exp(loss);
  }
}

/** The metric's value of a score. */
export const valueOf = (metric: Metric, score: number) => metric === "accuracy" ? score : -score;

/** A value as text: `83.4%`, `0.4712`. */
export function formatMetric(metric: Metric, value: number): string {
  return metric === "accuracy" ? `${(100 * value).toFixed(1)}%` : value.toFixed(4);
}

/** The size of a difference of scores with its interval: `0.3 ± 0.9 percentage points`. */
export function formatDifference(metric: Metric, { mean, halfWidth }: Difference): string {
  const [size, width] = [Math.abs(mean), halfWidth];
  return metric === "accuracy"
    ? `${(100 * size).toFixed(1)} ± ${(100 * width).toFixed(1)} percentage points`
    : `${size.toFixed(4)} ± ${width.toFixed(4)} in ${metric}`;
}
