/**
 * Writes docs/merging.md and docs/merging.svg from the lines that scripts/figures/merges.ts prints, kept
 * in docs/merging.jsonl: a table of all merges, a summary by way, and a plot of the gain kept.
 *
 * usage: deno run -A scripts/figures/merges_page.ts
 * To measure more, append to the lines first; of equal cases the last counts:
 *   deno run -A scripts/figures/merges.ts --workloads plain >> docs/merging.jsonl
 */
import { mean } from "../../src/statistics.ts";
import { markdownTable } from "../markdown_table.ts";
import { keptPlot } from "./merges_plot.ts";

/** What a line of scripts/figures/merges.ts says. */
export interface Merge {
  readonly workload: string;
  readonly form: string;
  readonly targets: string;
  readonly rank: number;
  readonly iters: number;
  /** As it was asked for. */
  readonly way: string;
  /** What was written. */
  readonly method: string;
  readonly gain_kept: number | null;
  readonly interval: readonly [number, number] | null;
  readonly size: number;
  readonly latency: number | null;
  readonly latency_control: number | null;
  readonly training_seconds: number;
  readonly merge_seconds: number;
  readonly processor: string;
}

const DOCS = new URL("../../docs/", import.meta.url).pathname;

const lines = Deno.readTextFileSync(`${DOCS}merging.jsonl`).trim().split("\n");
const merges = [
  ...new Map(lines.map((line) => {
    const merge: Merge = JSON.parse(line);
    const { workload, form, targets, rank, iters, way } = merge;
    return [[workload, form, targets, rank, iters, way].join(), merge] as const;
  })).values(),
];

const percent = (share: number | null) => share === null ? "–" : `${(100 * share).toFixed(1)}%`;
const ratio = (value: number | null, digits = 3) => value === null ? "–" : value.toFixed(digits);

const rows = merges.map((merge) => {
  const { workload, form, targets, rank, iters, way, method, interval } = merge;
  return [
    ...[workload, form, targets, String(rank), String(iters)],
    way === method ? way : `${way}: ${method}`,
    percent(merge.gain_kept),
    interval === null ? "–" : `${percent(interval[0])} to ${percent(interval[1])}`,
    ratio(merge.size),
    merge.latency === null ? "–" : `${ratio(merge.latency)} (${ratio(merge.latency_control)})`,
    `${Math.round(merge.merge_seconds)} of ${Math.round(merge.training_seconds)}`,
    ratio(merge.merge_seconds / merge.training_seconds, 2),
  ];
});

const ways = [...new Set(merges.map(({ way }) => way))];
const summary = ways.map((way) => {
  const own = merges.filter((merge) => merge.way === way);
  const kept = own.flatMap(({ gain_kept }) => gain_kept ?? []);
  const latencies = own.flatMap(({ latency }) => latency ?? []);
  return [
    way,
    String(own.length),
    percent(mean(kept)),
    percent(Math.min(...kept)),
    ratio(Math.max(...own.map(({ size }) => size))),
    latencies.length === 0 ? "–" : ratio(mean(latencies)),
    ratio(mean(own.map((merge) => merge.merge_seconds / merge.training_seconds)), 2),
  ];
});

const processors = [...new Set(merges.map(({ processor }) => processor))];
Deno.writeTextFileSync(
  `${DOCS}merging.md`,
  `# What merging keeps

Written by \`scripts/figures/merges_page.ts\` from the lines of \`scripts/figures/merges.ts\`; do not edit.
A LoRA is trained and merged by each method, and a scale adapter is trained for the same steps. The
tables give the share of the LoRA's gain on held-out data that the merged model keeps, with its 95%
interval, size and latency relative to the base (in brackets the base against itself in the same
rounds), and the seconds of the merge, including its measurements, and of the training. \`auto\` is the
default of \`graft merge\`; \`scales\` is \`graft train --adapter-type scales\`, whose merge is exact, so
that its share compares its training with LoRA's. Workloads are texts of e2e and banking77 in \`../shared\`;
forms are those of \`scripts/figures/merge_forms.ts\`.

Measured on ${processors.join("; ")}.

![Share of the gain kept](merging.svg)

## By way

${
    markdownTable(
      ["way", "merges", "mean kept", "least kept", "largest size", "mean latency", "mean time"],
      summary,
    )
  }

Time is that of the merge as a share of the training's.

## All merges

${
    markdownTable([
      ...["workload", "form", "targets", "rank", "steps", "way", "gain kept", "95% interval"],
      ...["size", "latency", "seconds", "share"],
    ], rows)
  }
`,
);
Deno.writeTextFileSync(`${DOCS}merging.svg`, keptPlot(merges));
const written = [`${DOCS}merging.md`, `${DOCS}merging.svg`];
await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", ...written] }).output();
