/** `graft bench train`: speed and memory of training steps, and where the time goes. */
import { PHASES } from "../../bench/train_steps.ts";
import { EXIT, GraftError, UsageError } from "../../errors.ts";
import { wholeNumbers } from "./bench_flags.ts";
import { BENCH_TRAIN_FLAGS, type BenchTrainFlags } from "./bench_train_flags.ts";
import { benchTraining, type Configuration, type TrainingFigures } from "./bench_train_run.ts";
import { command } from "../command.ts";
import { startSelf } from "../../system/own_process.ts";
import { longWork } from "../terminal/long_work.ts";
import type { Terminal } from "../terminal/output.ts";
import { runtimeArguments } from "../runtime_flags.ts";
import { type Column, printTable } from "../terminal/table.ts";

export default command({
  name: "bench train",
  summary: "Measure speed, memory and the phases of training steps",
  flags: BENCH_TRAIN_FLAGS,
  needs: ["run"],
  examples: [
    {
      command: "graft bench train --model ./smollm2-int4 --length 64,128,256,512",
      does: "how time and memory grow with the length, each in a separate process",
    },
    {
      command: "graft bench train --model ./smollm2-int4 --data chats.jsonl --batch-size 8",
      does: "with the user's own data",
    },
  ],
  async run({ flags, terminal }) {
    const all = configurations(flags);
    const first = all.length === 1 ? await benchTraining(flags, all[0], terminal) : undefined;
    const found = first === undefined
      ? await inOwnProcesses(flags, all, terminal)
      : { machine: first.machine, figures: [first.figures] };
    if (flags.json) {
      const { machine, figures } = found;
      terminal.print(JSON.stringify({ model: flags.model, ...machine, configurations: figures }));
      return EXIT.ok;
    }
    terminal.print(`${found.machine.processor}, ${found.machine.runtime}`);
    printTable(found.figures, COLUMNS, terminal);
    for (const figures of found.figures) printOperators(figures, terminal);
    terminal.print(
      "forward, head, backward, optimizer, other: mean milliseconds a step; memory: the process's peak",
    );
    return EXIT.ok;
  },
});

/** Every combination of the lists. */
function configurations(flags: BenchTrainFlags): readonly Configuration[] {
  const layers = wholeNumbers("--num-layers", flags.numLayers, -1);
  if (layers.includes(0)) {
    throw new UsageError("--num-layers must be >= 1, or -1 for all: current value is 0");
  }
  const lengths = wholeNumbers("--length", flags.length, 2);
  const ranks = wholeNumbers("--rank", flags.rank, 1);
  return wholeNumbers("--batch-size", flags.batchSize, 1).flatMap((batchSize) =>
    lengths.flatMap((length) =>
      layers.flatMap((numLayers) => ranks.map((rank) => ({ batchSize, length, numLayers, rank })))
    )
  );
}

interface Found {
  readonly machine: { readonly processor: string; readonly runtime: string };
  readonly figures: readonly TrainingFigures[];
}

/** Peak memory is a process's own: each configuration gets one. */
async function inOwnProcesses(
  flags: BenchTrainFlags,
  all: readonly Configuration[],
  terminal: Terminal,
): Promise<Found> {
  const found: TrainingFigures[] = [];
  let machine: Found["machine"] | undefined;
  const show = longWork(terminal);
  for (const [i, configuration] of all.entries()) {
    show(`Configuration ${i + 1} of ${all.length}`);
    const child = startSelf(argumentsOf(flags, configuration));
    const [{ code }, stdout] = await Promise.all([
      child.status,
      new Response(child.stdout).text(),
    ]);
    if (code !== 0) {
      throw new GraftError(
        `Cannot measure the configuration ${JSON.stringify(configuration)}: the reason is above`,
        code,
      );
    }
    const { processor, runtime, configurations } = JSON.parse(stdout);
    machine = { processor, runtime };
    found.push(...configurations);
  }
  return { machine: machine!, figures: found };
}

/** The command line that measures one configuration. */
function argumentsOf(flags: BenchTrainFlags, one: Configuration): readonly string[] {
  const given = (name: string, value: string | number | undefined) =>
    value === undefined ? [] : [name, String(value)];
  const { gradCheckpoint } = flags;
  return [
    ...["bench", "train", "--json", "--model", flags.model, ...given("--data", flags.data)],
    ...["--batch-size", String(one.batchSize), "--length", String(one.length)],
    ...["--num-layers", String(one.numLayers), "--rank", String(one.rank)],
    ...["--target-modules", flags.targetModules.join(), "--steps", String(flags.steps)],
    ...given("--lora-dropout", flags.loraDropout),
    ...given("--target-share", flags.targetShare),
    ...["--numeric", flags.numeric],
    ...(gradCheckpoint === undefined
      ? []
      : [gradCheckpoint ? "--grad-checkpoint" : "--no-grad-checkpoint"]),
    ...given("--memory-budget", flags.memoryBudget),
    ...(flags.profile ? ["--profile"] : []),
    ...runtimeArguments(flags),
  ];
}

const COLUMNS: readonly Column<TrainingFigures>[] = [
  { heading: "batch", cell: (row) => row.batch },
  { heading: "length", cell: (row) => row.length },
  { heading: "layers", cell: (row) => row.num_layers === -1 ? "all" : String(row.num_layers) },
  { heading: "rank", cell: (row) => row.rank },
  { heading: "numeric", cell: (row) => row.numeric },
  { heading: "tok/s", cell: (row) => row.tokens_per_s },
  { heading: "MB", cell: (row) => row.peak_rss_mb },
  { heading: "ms/step", cell: (row) => row.step_ms },
  ...PHASES.map((phase) => ({
    heading: phase,
    cell: (row: TrainingFigures) => row[`${phase}_ms`],
  })),
];

/** Mean milliseconds a step of each operator, the longest first. */
function printOperators({ operators_ms }: TrainingFigures, terminal: Terminal): void {
  if (operators_ms === undefined) return;
  const rows = Object.entries(operators_ms).map(([operator, phases]) => ({
    operator,
    phases,
    all: Object.values(phases).reduce((sum, ms) => sum + ms, 0),
  })).toSorted((a, b) => b.all - a.all);
  printTable(rows, [
    { heading: "operator", cell: ({ operator }) => operator },
    { heading: "ms/step", cell: ({ all }) => all },
    ...PHASES.filter((phase) => phase !== "other").map((phase) => ({
      heading: phase,
      cell: (row: typeof rows[number]) => row.phases[phase],
    })),
  ], terminal);
}
