/**
 * Prints what keeping the frozen layers' output saves (`--prefix-cache`): seconds of an epoch without
 * it, of the first epoch with it and of a later one, in turn; the size of the file; and the peak
 * memory of `graft train` for two epochs with and without. CPU seconds tell more than the clock's on
 * a machine that does other work.
 *
 * usage: deno run -A scripts/figures/prefix.ts [SHARED] [ROWS] [ROUNDS] (default: ../shared, 128, 3)
 */
import { join } from "@std/path";
import { processTerminal } from "../../src/cli/terminal/output.ts";
import { trainingNotes } from "../../src/cli/train/training_notes.ts";
import { type FineTuneInput, resolveConfig } from "../../src/finetune/mod.ts";
import { prepareTraining } from "../../src/finetune/prepare_training.ts";
import { median } from "../../src/statistics.ts";
import { ActivationFile } from "../../src/train/activation_file.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { graft } from "./children.ts";
import { watched } from "./machine.ts";

const [shared = "../shared", rows = "128", rounds = "3"] = Deno.args;
const BATCH = 8;
const KINDS = ["without", "first epoch", "later epoch"] as const;
type Kind = typeof KINDS[number];

const folder = await Deno.makeTempDir({ prefix: "graft-prefix-" });
try {
  const lines = Deno.readTextFileSync(`${shared}/data/e2e/bench512.jsonl`).split("\n");
  const data = join(folder, "rows.jsonl");
  Deno.writeTextFileSync(data, lines.slice(0, Number(rows)).join("\n"));
  const model = `${shared}/models/smollm2-135m-instruct-int4`;
  const flags = { model, data, numLayers: 4, batchSize: BATCH, maxSeqLength: 256 };
  const epochs = await secondsOfEpochs(flags, join(folder, "activations"));
  console.log(JSON.stringify({ model, rows: Number(rows), ...epochs }));
  const peakMb = {
    without: await peakOf(model, data, "0"),
    with: await peakOf(model, data, "4G"),
  };
  console.log(JSON.stringify({ peakMb }));
} finally {
  await Deno.remove(folder, { recursive: true });
}

/** Medians over the rounds. */
async function secondsOfEpochs(input: FineTuneInput, path: string) {
  const config = resolveConfig(input);
  const onEvent = trainingNotes(config, processTerminal());
  using setup = await prepareTraining(config, { onEvent });
  const step = setup.model;
  if (!(step instanceof PlannedModel) || setup.frozen === undefined) {
    throw new Error("There is too little memory, or nothing is frozen");
  }
  const count = setup.data.batches(0);
  const batches = await Promise.all(
    Array.from({ length: count }, (_, i) => setup.data.batch(0, i)),
  );
  const epoch = async () => {
    for (const batch of batches) {
      await step.accumulate(batch, 0);
      step.zeroGrad();
    }
  };
  await epoch(); // compiles
  const taken = Object.fromEntries(
    KINDS.map((kind) => [kind, { clock: [], cpu: [] }]),
  ) as unknown as Record<Kind, { clock: number[]; cpu: number[] }>;
  const time = async (kind: Kind) => {
    const start = performance.now();
    const { ownMs } = await watched([Deno.pid], epoch);
    taken[kind].clock.push((performance.now() - start) / 1000);
    taken[kind].cpu.push(ownMs / 1000);
  };
  let fileBytes = 0;
  for (let round = 0; round < Number(rounds); round++) {
    step.activations = undefined;
    await time("without");
    using file = ActivationFile.open(path, { identity: "", limitBytes: 4e9, resume: false })!;
    setup.frozen.keepIn(file);
    await time("first epoch");
    await time("later epoch");
    fileBytes = file.sizeBytes;
  }
  const seconds = Object.fromEntries(
    KINDS.map((kind) => [kind, {
      clock: median(taken[kind].clock),
      cpu: median(taken[kind].cpu),
    }]),
  );
  const tokens = batches.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
  return { tokens, fileBytes, bytesPerToken: Math.round(fileBytes / tokens), seconds };
}

/** Peak memory of two epochs, in MB. */
async function peakOf(model: string, data: string, size: string): Promise<number> {
  const { peakMb } = await graft(
    ...["train", "--model", model, "--data", data, "--num-layers", "4", "--epochs", "2"],
    ...["--batch-size", String(BATCH), "--max-seq-length", "256", "--prefix-cache", size],
    ...["--adapter-path", join(folder, `adapter-${size}`)],
  );
  return peakMb;
}
