/** What a run of a side gave, what a workload came to, and whether its goals are met. */
import { mean, median } from "../../src/statistics.ts";
import type { Machine } from "./context.ts";

/** A training run, under the names that the peer's script prints. */
export interface TrainResult {
  readonly peer: string;
  readonly task: "causal" | "seqcls";
  /** PyTorch's type, or graft's numeric setting. */
  readonly dtype: string;
  readonly targets: string;
  readonly rank: number;
  readonly alpha: number;
  readonly lr: number;
  readonly batch: number;
  readonly epochs: number;
  readonly examples: number;
  readonly trainable_parameters: number;
  readonly wall_s: number;
  /** Real tokens a second, the first two steps left out. */
  readonly tokens_per_s: number;
  /** Largest resident memory over the process tree. */
  readonly peak_rss_mb: number;
  readonly loss_first: number;
  readonly loss_last10: number;
  readonly losses: readonly number[];
  readonly valid_loss_before?: number;
  readonly valid_loss?: number;
  readonly accuracy?: number;
  /** Accuracy after merging into the base's own bits. */
  readonly merged_accuracy?: number;
  /** Those that {@linkcode accuracy} is the mean of, where several runs have one. */
  readonly accuracies?: readonly number[];
}

/**
 * The first run, which is on all data, with the median speed of all, the largest memory and the mean
 * of the accuracies.
 */
export function medianResult(runs: readonly TrainResult[]): TrainResult {
  const merged = knownOf(runs, "merged_accuracy");
  const accuracies = knownOf(runs, "accuracy");
  return {
    ...runs[0],
    tokens_per_s: median(runs.map((run) => run.tokens_per_s)),
    peak_rss_mb: Math.max(...runs.map((run) => run.peak_rss_mb)),
    ...accuracies.length > 0 && { accuracy: mean(accuracies) },
    ...merged.length > 0 && { merged_accuracy: mean(merged) },
    ...accuracies.length > 1 && { accuracies },
  };
}

function knownOf(runs: readonly TrainResult[], key: "accuracy" | "merged_accuracy"): number[] {
  return runs.flatMap(({ [key]: value }) => value === undefined ? [] : [value]);
}

/** A figure and the goal it has. */
export interface Goal {
  readonly what: string;
  readonly found: number;
  readonly bound: ">=" | "<=";
  readonly goal: number;
  readonly met: boolean;
}

export function atLeast(what: string, found: number, goal: number): Goal {
  return { what, found, bound: ">=", goal, met: found >= goal };
}

export function atMost(what: string, found: number, goal: number): Goal {
  return { what, found, bound: "<=", goal, met: found <= goal };
}

/** A table of a workload that is no comparison of two runs. */
export interface ReportTable {
  readonly title: string;
  readonly rows: readonly Readonly<Record<string, string | number>>[];
}

/** What a workload came to; its JSON is what `deno task bench` prints. */
export interface Report {
  /** Name in BENCHMARKS.md, with the targets where there are several: `B1 q,v`. */
  readonly workload: string;
  readonly about: string;
  readonly measured_at: string;
  readonly rounds: number;
  /** graft's side. */
  readonly graft?: TrainResult;
  readonly peers: readonly TrainResult[];
  readonly goals: readonly Goal[];
  readonly tables: readonly ReportTable[];
  /** What could not be measured, and why. */
  readonly notes: readonly string[];
}

/** A report without what all of a group's have in common. */
export type ReportBody = Omit<Report, "workload" | "measured_at" | "rounds">;

/** A report with the machine it was measured on, as docs/benchmarks.json keeps it. */
export interface KeptReport extends Report {
  readonly machine: Machine;
}

/** A report as it is kept: a loss for every step would be most of the file. */
export function withoutLosses(report: KeptReport): KeptReport {
  const short = (run: TrainResult): TrainResult => ({ ...run, losses: [] });
  return { ...report, graft: report.graft && short(report.graft), peers: report.peers.map(short) };
}

/** One line of JSON: graft's side under the peer's names, everything else beside it. */
export function reportJson({ workload, graft, ...rest }: KeptReport): string {
  return JSON.stringify({ workload, ...graft, ...rest });
}
