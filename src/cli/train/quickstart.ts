/** `graft quickstart`: trains, merges and asks the embedded model, in about a minute. */
import { EXIT } from "../../errors.ts";
import { loadAdapter } from "../../model/adapter_dir.ts";
import { DEFAULT_MODEL, QUICKSTART_DATA, withCarried } from "../../model/carried_model.ts";
import { findModelFile } from "../../model/find_model.ts";
import { loadOnnx } from "../../model/load_onnx.ts";
import { LEAST_GAIN_KEPT } from "../../lora/merge/mod.ts";
import { mergeAdapters } from "../../model/merge_adapters.ts";
import type { Runner } from "../../runtime/runner.ts";
import { spreadBatches } from "../../train/spread_batches.ts";
import { insideBinary } from "../../system/embedded.ts";
import { InferenceModel } from "../../tasks/inference_model.ts";
import { command } from "../command.ts";
import { resolveConfig, Trainer } from "../../finetune/mod.ts";
import { integer, text } from "../flags.ts";
import { askLines } from "../run/input_text.ts";
import { longWork } from "../terminal/long_work.ts";
import type { Terminal } from "../terminal/output.ts";
import { centroidAccuracy } from "../../tasks/centroid_accuracy.ts";
import { takeFolder } from "./quickstart_folder.ts";
import {
  nextLines,
  outcomeLines,
  pathFromHere,
  programName,
  WHAT_HAPPENS,
} from "./quickstart_words.ts";
import { runEncoder } from "../run/run_encoder.ts";
import { runTrainer } from "./run_trainer.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { openRunner } from "../open_runner.ts";
import { untilStopped } from "../terminal/stop_signal.ts";
import { trainingNotes } from "./training_notes.ts";

const EXAMPLE = "it is freezing in the workshop";

/** What differs from the defaults of `graft train`. */
const SETTINGS = {
  targetModules: ["all-linear"],
  batchSize: 16,
  learningRate: 2e-3,
  epochs: 3,
  stepsPerReport: 18,
} as const;

export default command({
  name: "quickstart",
  summary: "Train, merge and ask the embedded model, in about a minute",
  operands: "[SENTENCE…]",
  maxOperands: Infinity,
  flags: {
    out: text("Folder for all output; that of an earlier quickstart is replaced", {
      default: "graft-quickstart",
      placeholder: "DIR",
    }),
    seed: integer("Seed of the adapter's start and of the order of the sentences", {
      default: 0,
      min: 0,
    }),
    ...RUNTIME_FLAGS,
  },
  examples: [
    { command: "graft quickstart", does: "asks for sentences in the end, on a terminal" },
    {
      command: "graft quickstart I cannot see my hands in the shed",
      does: "classifies the sentence",
    },
  ],
  needs: ["run"],
  async run({ flags, operands, terminal }) {
    const folder = takeFolder(flags.out);
    const { out: _, ...shared } = flags;
    const config = resolveConfig({
      ...SETTINGS,
      ...shared,
      model: named(DEFAULT_MODEL),
      data: named(QUICKSTART_DATA),
      adapterPath: folder.adapter,
      test: true, // asks for the held-out part, too
    });
    for (const line of WHAT_HAPPENS) terminal.note(line);

    using trainer = await Trainer.open(config, { onEvent: trainingNotes(config, terminal) });
    const { data, test } = trainer;
    const path = findModelFile(config.model);
    using base = loadOnnx(path);
    using runner = openRunner(flags);
    const heldOut = test!;
    const before = await centroidAccuracy(runner, base.model, data, heldOut);

    // It is evaluated by the inference graph, below.
    const code = await runTrainer(trainer, terminal, false);
    if (code !== EXIT.ok) return code;

    const show = longWork(terminal);
    const decision = await untilStopped(folder.merged, terminal, (signal) =>
      mergeAdapters(runner, {
        base: { path, model: base.model, sizeBytes: base.sizeBytes },
        adapters: [{ label: folder.adapter, weight: 1, ...loadAdapter(folder.adapter) }],
        savePath: folder.merged,
        method: "nearest", // in int8 it loses little, and a minute is short
        minGainKept: LEAST_GAIN_KEPT,
        data: {
          objective: "classification",
          train: { batches: () => spreadBatches(data, -1) },
          heldOut: () => spreadBatches(heldOut, -1),
        },
        onProgress: ({ text, share }) => show(text, share),
        signal,
      }));
    for (const line of outcomeLines(before, decision, folder)) terminal.print(line);

    await ask(runner, folder.merged, operands.join(" "), terminal);
    const places = { base: config.model, data: config.data, ...folder };
    for (const line of nextLines(places, programName())) terminal.print(line);
    return EXIT.ok;
  },
});

/** What graft carries, as the commands that are printed last can name it. */
function named(name: string): string {
  const path = withCarried(name);
  return insideBinary(path) ? name : pathFromHere(path);
}

/** Classifies what the user says, as `graft run` would. */
async function ask(
  runner: Runner,
  merged: string,
  given: string,
  terminal: Terminal,
): Promise<void> {
  using model = await InferenceModel.open({ model: merged }, { runner });
  const flags = { embedding: false, topClasses: 2, json: false };
  await runEncoder(model, sentences(given, terminal), flags, terminal);
}

/** The user's sentence, else those typed at a terminal, else an example. */
async function* sentences(given: string, terminal: Terminal): AsyncGenerator<string> {
  if (given.trim() !== "") {
    terminal.print(`"${given}":`);
    return yield given;
  }
  if (!Deno.stdin.isTerminal()) {
    terminal.print(`"${EXAMPLE}" (your own: graft quickstart SENTENCE):`);
    return yield EXAMPLE;
  }
  terminal.note(`Tell the device something, e.g. "${EXAMPLE}"; an empty line ends this`);
  for await (const line of askLines(Deno.stdin.readable, terminal)) {
    if (line.trim() === "") return;
    yield line;
  }
}
