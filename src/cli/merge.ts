/** `graft merge`: puts adapters into the model's own weights and certifies what that is worth. */
import { EXIT, UsageError } from "../errors.ts";
import { formatCertificate } from "../lora/merge/certificate_report.ts";
import { checkBase } from "../lora/apply.ts";
import type { MergeMethod, WeightedAdapter } from "../lora/merge/mod.ts";
import { adapterFolder, loadAdapter } from "../model/adapter_dir.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { mergeAdapters } from "../model/merge_adapters.ts";
import { checkTarget } from "../model/staged_directory.ts";
import { checkNotBase, checkSpares } from "../model/write_model.ts";
import { openMapped } from "../system/mapped_file.ts";
import { keepHeapSmall } from "../system/memory.ts";
import { command } from "./command.ts";
import { boolean, list, text } from "./flags.ts";
import { longWork } from "./long_work.ts";
import { MEASURING_FLAGS, openMeasuring } from "./merge_flags.ts";
import { BASE_TEXT } from "./model_text.ts";
import type { Terminal } from "./output.ts";
import { asCommandLine } from "./parameter_names.ts";
import { openRunner, RUNTIME_FLAGS } from "./runtime_flags.ts";
import { untilStopped } from "./stop_signal.ts";

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
      default: ["adapters"],
      placeholder: "DIR",
    }),
    adapterWeights: list("Weight of each adapter; 1 if absent", { placeholder: "NUMBERS" }),
    savePath: text("Folder to write", { default: "merged", placeholder: "DIR" }),
    method: text(
      "How to round: auto tries one after another until enough of the gain is kept; tuned puts the " +
        "change into the scales and trains these, codes as they are",
      { choices: ["auto", "nearest", "compensated", "tuned", "8bit"], default: "auto" },
    ),
    allowLarger: boolean(
      "Move the adapted matrices to 8 bits where their own bits keep too little",
      { default: false },
    ),
    dequantize: boolean("Store all linear layers as floats instead", { default: false }),
    force: boolean("Replace --save-path, and write the best way even where it keeps too little", {
      default: false,
    }),
    ...MEASURING_FLAGS,
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
  async run({ flags, terminal }) {
    const method = methodOf(flags.method, flags.dequantize);
    const path = findModelFile(flags.model);
    // Before any work: --force must not take away what the merge is made from.
    checkNotBase(flags.savePath, path);
    for (const adapter of flags.adapterPath) {
      checkSpares(flags.savePath, adapter, `the adapter ${adapter}`);
    }
    if (flags.data !== undefined) checkSpares(flags.savePath, flags.data, `the data ${flags.data}`);
    checkTarget(flags.savePath, flags.force);
    keepHeapSmall();
    using base = loadOnnx(path, openMapped);
    const adapters = loadAdapters(flags.adapterPath, flags.adapterWeights, terminal);
    for (const { adapter, label } of adapters) checkBase(adapter, base.model, label);
    const made = adapters.find(({ adapter }) => adapter.card !== undefined);
    if (flags.data === undefined && adapters.length > 1 && made !== undefined) {
      terminal.note(
        `Measured on the data of ${made.label} alone: --data names data of all adapters`,
      );
    }
    using runner = openRunner(flags, { modelBytes: base.sizeBytes });
    const from = { path, model: base.model, sizeBytes: base.sizeBytes };
    const alone = adapters.length === 1 && adapters[0].weight === 1 ? adapters[0] : undefined;
    const measured = {
      card: made?.adapter.card,
      folder: alone && adapterFolder(alone.label),
    };
    using measuring = await openMeasuring(flags, runner, from, measured, terminal);
    const show = longWork(terminal);
    const decision = await untilStopped(
      flags.savePath,
      terminal,
      (signal) =>
        mergeAdapters(runner, {
          ...measuring.request,
          base: from,
          adapters,
          savePath: flags.savePath,
          method,
          allowLarger: flags.allowLarger,
          force: flags.force,
          onNote: (line) => terminal.note(line),
          onProgress: ({ text, share }) => show(text, share),
          signal,
        }),
    );
    for (const line of formatCertificate(decision, asCommandLine)) terminal.print(line);
    terminal.print(`Saved the merged model in ${flags.savePath}`);
    return EXIT.ok;
  },
});

function methodOf(
  method: "auto" | "nearest" | "compensated" | "tuned" | "8bit",
  dequantize: boolean,
): MergeMethod | undefined {
  if (!dequantize) return method === "auto" ? undefined : method;
  if (method === "auto") return "float";
  throw new UsageError(`Give --dequantize or --method, not both: current method is ${method}`);
}

function loadAdapters(
  paths: readonly string[],
  weights: readonly string[] | undefined,
  terminal: Terminal,
): readonly WeightedAdapter[] {
  if (paths.length === 0) throw new UsageError("There must be an adapter to merge: --adapter-path");
  if (weights !== undefined && weights.length !== paths.length) {
    throw new UsageError(
      `--adapter-weights must be as many as --adapter-path (${paths.length}): current value is ${weights}`,
    );
  }
  return paths.map((label, i) => {
    const weight = weights === undefined ? 1 : weights[i].trim() === "" ? NaN : Number(weights[i]);
    if (!Number.isFinite(weight)) {
      throw new UsageError(`--adapter-weights must be numbers: current value is "${weights?.[i]}"`);
    }
    const { adapter, notes } = loadAdapter(label);
    for (const note of notes) terminal.note(note);
    return { label, adapter, weight };
  });
}
