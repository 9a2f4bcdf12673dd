/** `graft bench methods`: what LoRA and other methods of fine-tuning cost, beside each other. */
import { methodsPlot } from "../../bench/methods_plot.ts";
import { parseShapes } from "../../bench/parse_shapes.ts";
import { EXIT } from "../../errors.ts";
import { makeDirectory, replaceFile } from "../../system/durable_files.ts";
import { command } from "../command.ts";
import { openRunner } from "../open_runner.ts";
import { longWork } from "../terminal/long_work.ts";
import { type Column, printTable } from "../terminal/table.ts";
import { machine } from "./bench_flags.ts";
import { BENCH_METHODS_FLAGS } from "./bench_methods_flags.ts";
import { compareMethods, type MethodFigures } from "./bench_methods_run.ts";

export default command({
  name: "bench methods",
  summary: "Compare methods of fine-tuning: parameters, training, result, latency",
  flags: BENCH_METHODS_FLAGS,
  needs: ["run"],
  examples: [
    {
      command: "graft bench methods --model ./minilm-int8 --data ./banking77",
      does: "trains each method, merges LoRA, and times all at 1×128, 16×256 and 32×512 tokens",
    },
    {
      command:
        "graft bench methods --model ./smollm2-int4 --data ./chats --shapes 1x128,4x256 --plot methods.svg",
      does: "with smaller shapes, and a picture",
    },
  ],
  async run({ flags, terminal }) {
    const shapes = parseShapes(flags.shapes);
    const kept = flags.savePath;
    const folder = kept ?? Deno.makeTempDirSync({ prefix: "graft-methods-" });
    if (kept !== undefined) makeDirectory(kept);
    try {
      using runner = openRunner(flags);
      const show = longWork(terminal);
      const figures = await compareMethods(flags, shapes, runner, folder, show);
      const { processor, runtime } = machine(runner);
      if (flags.plot !== undefined) replaceFile(flags.plot, plotOf(figures));
      if (flags.json) {
        terminal.print(JSON.stringify({
          ...{ model: flags.model, data: flags.data, processor, runtime },
          ...{ iters: flags.iters, batch_size: flags.batchSize, methods: figures },
        }));
        return EXIT.ok;
      }
      terminal.print(`${processor}, ${runtime}`);
      printTable(figures, columnsOf(figures), terminal);
      terminal.print(
        "added: time of a whole run beside the base's in the same round, median; " +
          '"base again" shows what the machine alone differs by; texts with virtual tokens are longer by ' +
          "these, up to what the model takes",
      );
      return EXIT.ok;
    } finally {
      if (kept === undefined) Deno.removeSync(folder, { recursive: true });
    }
  },
});

function columnsOf([{ latency }]: readonly MethodFigures[]): readonly Column<MethodFigures>[] {
  return [
    { heading: "method", cell: (row) => row.method },
    { heading: "trained", cell: (row) => row.trainable_parameters },
    { heading: "rate", cell: (row) => row.learning_rate },
    { heading: "tok/s", cell: (row) => row.tokens_per_s },
    { heading: "MB", cell: (row) => row.peak_rss_mb },
    { heading: "loss", cell: (row) => row.loss },
    { heading: "accuracy", cell: (row) => row.accuracy },
    ...latency.flatMap(({ batch, length }, i): Column<MethodFigures>[] => [
      { heading: `${batch}×${length} ms`, cell: (row) => row.latency[i].ms },
      {
        heading: "added",
        cell: (row) => `${(100 * (row.latency[i].ratio - 1)).toFixed(1)}%`,
      },
    ]),
  ];
}

function plotOf(figures: readonly MethodFigures[]): Uint8Array {
  const shapes = figures[0].latency.map(({ batch, length }) => `${batch}×${length}`);
  const bars = figures.slice(1).map(({ method, latency }) => ({
    name: method,
    ratios: latency.map(({ ratio }) => ratio),
  }));
  return new TextEncoder().encode(methodsPlot(shapes, bars));
}
