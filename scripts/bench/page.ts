/** docs/benchmarks.md: the reports as a page. */
import type { Machine } from "./context.ts";
import type { Point } from "./plot.ts";
import type { Goal, KeptReport, Report, TrainResult } from "./results.ts";

type Cell = string | number | undefined;

/** A table in Markdown. */
function markdownTable(
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
): string[] {
  const text = (cell: Cell) => typeof cell === "number" ? figure(cell) : cell ?? "";
  const right = headings.map((_, i) => rows.some((row) => typeof row[i] === "number"));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(headings),
    line(right.map((numeric) => numeric ? "---:" : "---")),
    ...rows.map((row) => line(row.map(text))),
  ];
}

/** Three significant digits, whole from 100 on. */
function figure(value: number): string {
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** The points of the plot: every side of every workload that trains. */
export function pointsOf(reports: readonly Report[]): Point[] {
  const found = new Map<string, Point>();
  for (const { workload, graft, peers } of reports) {
    const name = workload.replace(/^B\d+ ?/, "") || "banking77";
    if (workload === "B4") continue; // B1's own run
    for (const run of [...(graft === undefined ? [] : [graft]), ...peers]) {
      const point = {
        memory: run.peak_rss_mb,
        speed: run.tokens_per_s,
        side: sideOf(run),
        workload: name,
      };
      found.set(`${point.side} ${name}`, point);
    }
  }
  return [...found.values()];
}

/** `graft fast`, `PEFT float32`. */
function sideOf({ peer, dtype }: TrainResult): string {
  return `${peer.startsWith("peft") ? "PEFT" : "graft"} ${dtype}`;
}

/**
 * The page.
 *
 * @param plot file name of the picture beside it; absent where there is nothing to draw
 */
export function benchmarksPage(reports: readonly KeptReport[], plot: string | undefined): string {
  const lines = [
    "# Benchmarks",
    "",
    "Written by `deno task bench`; do not edit. graft and its peers ran alternately; speeds are",
    "medians of the rounds. The first trains on all data, and losses are its; the later ones of B1 to",
    "B4 train on a part, those of B5 on all with seeds of their own, and accuracies are means. An",
    "absolute figure belongs to its machine and hour, a ratio of two sides measured in one run does",
    "not. The workloads are those of BENCHMARKS.md. Tokens count for all sides as the data has them;",
    "graft computes once what several sequences of a language model's batch begin with, such as the",
    "chat template's system message, and PEFT computes it for each.",
    "",
    ...machines(reports),
    ...(plot === undefined ? [] : [`![Peak memory against tokens per second](${plot})`, ""]),
    "## Goals",
    "",
    ...markdownTable(
      ["workload", "figure", "found", "goal", "met"],
      reports.flatMap(({ workload, goals }) =>
        goals.map(({ what, found, bound, goal, met }: Goal) => [
          workload,
          what,
          figure(found),
          `${bound === ">=" ? "≥" : "≤"} ${goal}`,
          met ? "yes" : "no",
        ])
      ),
    ),
    "",
    ...reports.flatMap(section),
  ];
  return lines.join("\n").trimEnd() + "\n";
}

function machines(reports: readonly KeptReport[]): string[] {
  const byMachine = Map.groupBy(reports, ({ machine }) => JSON.stringify(machine));
  return [...byMachine].flatMap(([key, all]) => {
    const { processor, memory_gb, kernel, deno, graft, onnxruntime, peers }: Machine = JSON
      .parse(key);
    const runtime = onnxruntime === undefined ? "" : ` on ONNX Runtime ${onnxruntime}`;
    const versions = Object.entries(peers).map(([name, version]) => `${name} ${version}`);
    return [
      `${all.map(({ workload }) => workload).join(", ")}: ${processor}, ${memory_gb} GB, Linux ` +
      `${kernel}, Deno ${deno}, graft ${graft}${runtime}; peers: ${versions.join(", ") || "none"}.`,
      "",
    ];
  });
}

function section({ workload, about, measured_at, rounds, graft, peers, tables, notes }: Report) {
  const runs = [...(graft === undefined ? [] : [graft]), ...peers];
  return [
    `## ${workload}`,
    "",
    `${about}. ${rounds === 1 ? "One round" : `${rounds} rounds`}, ${measured_at.slice(0, 10)}.`,
    "",
    ...(runs.length === 0 ? [] : [...runsTable(runs), ""]),
    ...tables.flatMap(({ title, rows }) => {
      if (rows.length === 0) return [];
      const headings = Object.keys(rows[0]);
      return [
        `${title}:`,
        "",
        ...markdownTable(headings, rows.map((row) => Object.values(row))),
        "",
      ];
    }),
    ...notes.flatMap((note) => [`Not measured: ${note}.`, ""]),
  ];
}

function runsTable(runs: readonly TrainResult[]): string[] {
  const columns: readonly (readonly [string, (run: TrainResult) => Cell])[] = [
    ["side", sideOf],
    ["rows", (run) => run.examples],
    ["tok/s", (run) => run.tokens_per_s],
    ["peak MB", (run) => run.peak_rss_mb],
    ["validation loss", (run) => run.valid_loss?.toFixed(4)],
    ["accuracy", (run) => run.accuracy?.toFixed(4)],
    ["of seeds", (run) => run.accuracies?.map((accuracy) => accuracy.toFixed(4)).join(", ")],
    ["merged accuracy", (run) => run.merged_accuracy?.toFixed(4)],
    ["seconds", (run) => run.wall_s],
  ];
  const used = columns.filter(([, cell]) => runs.some((run) => cell(run) !== undefined));
  return markdownTable(
    used.map(([heading]) => heading),
    runs.map((run) => used.map(([, cell]) => cell(run))),
  );
}
