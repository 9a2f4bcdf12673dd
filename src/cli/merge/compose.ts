/** `graft compose`: a new adapter from adapters, or a smaller one from one. */
import { EXIT, UsageError } from "../../errors.ts";
import {
  COMPOSE_PARAMETERS as P,
  composeAdapters,
  type ComposeEvent,
} from "../../tasks/compose.ts";
import { command } from "../command.ts";
import { DATA_FLAGS } from "../data_flags.ts";
import { boolean, inGroup, integer, list, number, text } from "../flags.ts";
import { noteOfRuntime } from "../open_runner.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { longWork } from "../terminal/long_work.ts";
import type { Terminal } from "../terminal/output.ts";
import { untilStopped } from "../terminal/stop_signal.ts";
import { parseNumbers } from "./parse_numbers.ts";
import { composedJson, composedLines, savePlot } from "./composed_text.ts";

const MEASURING = "Measuring ranks";

export default command({
  name: "compose",
  summary: "Make a new adapter of adapters: sum, subtract, concatenate, reduce the rank",
  flags: {
    adapterPath: list("Folders or names of the adapters, with commas", {
      ...P.adapterPath,
      placeholder: "DIRS",
    }),
    adapterWeights: list("Weight of each adapter; negative ones subtract; 1 if absent", {
      placeholder: "NUMBERS",
    }),
    combinationType: text(
      "PEFT's combination: cat keeps the weighted sum exactly and adds the ranks; svd brings it to " +
        "--rank; linear sums A and B each on their own",
      P.combinationType,
    ),
    rank: integer(
      "Rank of the result, for the combinations that end in svd (also --svd); the largest of the adapters if absent",
      { ...P.rank, short: "r", placeholder: "N" },
    ),
    density: number("Share of the elements that ties, dare and magnitude_prune keep", P.density),
    majoritySignMethod: text(
      "How ties elects a sign: by the sum of the values or by their number",
      P.majoritySignMethod,
    ),
    seed: integer("Seed of the elements that dare drops", P.seed),
    model: text(
      "The base, to check that the adapters fit; needed where no adapter was made by graft",
      { ...P.model, short: "m", placeholder: "DIR" },
    ),
    data: text(
      "Data to measure ranks on, for the combinations that end in svd: a folder whose test part (else " +
        "valid, else train) counts, or one file; needs --model",
      { ...P.data, placeholder: "PATH", group: MEASURING },
    ),
    ranks: list("Ranks to show and measure; 1, 2, 4, … if absent", {
      placeholder: "NUMBERS",
      group: MEASURING,
    }),
    plot: text("SVG file for the metric by rank; needs --data", {
      placeholder: "FILE",
      group: MEASURING,
      inFile: false,
    }),
    batchSize: integer("Rows per batch of the measurement", { ...P.batchSize, group: MEASURING }),
    ...inGroup(DATA_FLAGS, MEASURING),
    ...RUNTIME_FLAGS,
    savePath: text("Folder to write", { ...P.savePath, placeholder: "DIR" }),
    force: boolean("Replace the adapter in --save-path", P.force),
    json: boolean("Print the result as JSON", { default: false, inFile: false }),
  },
  examples: [
    {
      command: "graft compose --adapter-path facts,style --adapter-weights 1,-0.5 --svd 16",
      does: "writes facts minus half of style, at rank 16, in composed",
    },
    {
      command: "graft compose --adapter-path facts,style --combination-type cat --save-path both",
      does: "writes the exact sum, whose rank is the sum of the ranks",
    },
    {
      command: "graft compose --adapter-path facts --rank 4 --save-path small",
      does: "writes the nearest adapter of rank 4, and shows what each rank would keep",
    },
    {
      command: "graft compose --adapter-path r64 --svd 8 -m ./smollm2-int4 --data ./data",
      does: "also measures the loss of each rank on data/test.jsonl",
    },
  ],
  needs: ["run"],
  async run({ flags, terminal }) {
    const { adapterWeights, ranks, plot, json, ...rest } = flags;
    if (plot !== undefined && flags.data === undefined) {
      throw new UsageError("--plot draws what ranks give on data: give it with --data");
    }
    const show = longWork(terminal);
    const composed = await untilStopped(flags.savePath, terminal, (signal) =>
      composeAdapters(
        {
          ...rest,
          adapterWeights: parseNumbers("adapterWeights", adapterWeights),
          ranks: parseNumbers("ranks", ranks),
        },
        { signal, onEvent: (event) => tell(event, show, terminal) },
      ));
    if (plot !== undefined && composed.measured !== undefined) {
      savePlot(plot, composed.measured);
    }
    if (json) terminal.print(composedJson(composed, flags.savePath));
    else for (const line of composedLines(composed, flags.savePath)) terminal.print(line);
    return EXIT.ok;
  },
});

function tell(event: ComposeEvent, show: ReturnType<typeof longWork>, terminal: Terminal): void {
  switch (event.kind) {
    case "adapter note":
      return terminal.note(event.text);
    case "runtime note":
      return noteOfRuntime(event.message);
    case "module":
      return show(
        `Combining: ${event.done} of ${event.total}, ${event.path}`,
        event.done / event.total,
      );
    case "measuring":
      return show(
        event.rank === undefined ? "Measuring the base" : `Measuring rank ${event.rank}`,
      );
    case "encoded":
    case "batch":
      return;
  }
}
