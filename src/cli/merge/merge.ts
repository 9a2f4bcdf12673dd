/** `graft merge`: puts adapters into the model's own weights and certifies what that is worth. */
import { EXIT, UsageError } from "../../errors.ts";
import { formatCertificate } from "../../lora/merge/certificate_report.ts";
import { keepHeapSmall } from "../../system/memory.ts";
import { merge, MERGE_PARAMETERS as P, type MergeConfig } from "../../tasks/merge.ts";
import { command } from "../command.ts";
import { boolean, list, text } from "../flags.ts";
import { parseNumbers } from "./parse_numbers.ts";
import { MEASURING_FLAGS } from "./merge_flags.ts";
import { mergeNotes } from "./merge_notes.ts";
import { BASE_TEXT } from "../models/model_text.ts";
import { asCommandLine } from "../parameter_names.ts";
import { RANKS_FLAGS } from "../ranks_flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { ofFirstRank } from "../terminal/first_rank.ts";
import { untilStopped } from "../terminal/stop_signal.ts";

export default command({
  name: "merge",
  summary: "Merge adapters into the model's own int8 or int4 weights, and prove what is kept",
  flags: {
    model: text(BASE_TEXT, {
      required: true,
      short: "m",
      placeholder: "DIR",
    }),
    adapterPath: list("Folder of the adapter; several, with commas, are merged together", {
      ...P.adapterPath,
      placeholder: "DIR",
    }),
    adapterWeights: list("Weight of each adapter; 1 if absent", { placeholder: "NUMBERS" }),
    savePath: text("Folder to write", { ...P.savePath, placeholder: "DIR" }),
    method: text(
      "How to round: auto tries one after another until enough of the gain is kept; tuned puts the " +
        "change into the scales and trains these, codes as they are",
      { choices: ["auto", "nearest", "compensated", "tuned", "8bit"], default: "auto" },
    ),
    allowLarger: boolean(
      "Move the adapted matrices to 8 bits where their own bits keep too little",
      P.allowLarger,
    ),
    dequantize: boolean("Store all linear layers as floats instead", { default: false }),
    force: boolean(
      "Replace --save-path, and write the best way even where it keeps too little",
      P.force,
    ),
    ...MEASURING_FLAGS,
    ...RANKS_FLAGS,
    ...RUNTIME_FLAGS,
  },
  examples: [
    {
      command: "graft merge --model ./smollm2-int4 --adapter-path adapters --save-path merged",
      does: "writes a model like the base, with the adapter in its weights",
    },
    {
      command: "graft merge --model default --adapter-path mill --min-gain-kept 0.95",
      does:
        "an adapter of graft's store, on the model that graft carries; the first way that keeps 95%",
    },
    {
      command: "graft merge -m base --adapter-path style,facts --adapter-weights 0.5,1",
      does: "merges two adapters at once",
    },
  ],
  needs: ["run"],
  async run({ flags, terminal: own }) {
    const terminal = ofFirstRank(own);
    const { adapterWeights, dequantize, method, ...rest } = flags;
    keepHeapSmall();
    const onEvent = mergeNotes(terminal);
    const input = {
      ...rest,
      method: methodOf(method, dequantize),
      adapterWeights: parseNumbers("adapterWeights", adapterWeights),
    };
    const decision = await untilStopped(
      flags.savePath,
      terminal,
      (signal) => merge(input, { onEvent, signal }),
    );
    for (const line of formatCertificate(decision, asCommandLine)) terminal.print(line);
    terminal.print(`Saved the merged model in ${flags.savePath}`);
    return EXIT.ok;
  },
});

type Method = Exclude<MergeConfig["method"], "float">;

function methodOf(method: Method, dequantize: boolean): MergeConfig["method"] {
  if (!dequantize) return method;
  if (method === "auto") return "float";
  throw new UsageError(`Give --dequantize or --method, not both: current method is ${method}`);
}
