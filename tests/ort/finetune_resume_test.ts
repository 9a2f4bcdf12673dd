import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  fineTune,
  type FineTuneEvent,
  type FineTuneInput,
  resumedConfig,
} from "../../src/finetune/mod.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { digestIn, trainTo } from "../helpers/interrupted_training.ts";
import { sampled } from "../helpers/sampled.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { requests, tinyTraining } from "../helpers/training_runs.ts";

const CLASSIFIER = modelDir("tiny-bert-torch-fp32");

/** Ways to train whose state between steps differs, but for those that tests of their own resume. */
const WAYS: readonly { readonly name: string; readonly how: Partial<FineTuneInput> }[] = [
  {
    name: "rsLoRA with ranks and alphas by layer",
    how: { useRslora: true, rankPattern: { v_proj: 4 }, alphaPattern: { q_proj: 6 } },
  },
  { name: "DoRA", how: { useDora: true } },
  { name: "LoRA-FA", how: { optimizer: "lorafa", weightDecay: 0.1 } },
  {
    name: "LoftQ",
    how: { initLoraWeights: "loftq", loftqModel: modelDir("tiny-llama-hf") },
  },
  { name: "normalisations", how: { adapterType: ["ln_tuning"] } },
  { name: "factors of the scales", how: { adapterType: ["scales"] } },
  { name: "all biases", how: { model: CLASSIFIER, bias: "all" } },
  { name: "BitFit", how: { model: CLASSIFIER, adapterType: ["bitfit"] } },
  {
    name: "a module in full",
    how: { model: CLASSIFIER, modulesToSave: ["classifier"], targetModules: ["query"] },
  },
];

/** A short training of one layer into a folder; of LoRA with dropout, whose random numbers must go on, too. */
function input(folder: string, how: Partial<FineTuneInput>): FineTuneInput {
  const loraDropout = how.adapterType === undefined ? 0.1 : 0;
  const training = tinyTraining(folder, 2, {
    rank: 2,
    iters: 3,
    numLayers: 1,
    loraDropout,
    ...how,
  });
  if (how.model !== CLASSIFIER) return training;
  const data = join(folder, "rows.csv");
  Deno.writeTextFileSync(data, requests(12));
  return { ...training, data, validationSplit: 0.25 };
}

for (const { name, how } of sampled(WAYS)) {
  Deno.test(`fineTune() of ${name}, interrupted and resumed, ends as a straight run`, () =>
    inTempDir((straight) =>
      inTempDir(async (folder) => {
        const losses: number[] = [];
        const onEvent = (event: FineTuneEvent) => {
          if (event.kind === "report") losses.push(event.report.loss);
        };
        await fineTune(input(straight, { ...how, stepsPerReport: 1 }), { onEvent });
        await trainTo(1, input(folder, how));
        const interrupted = await digestIn(folder);
        await fineTune(resumedConfig(join(folder, "adapter")));
        assertEquals(await digestIn(folder), await digestIn(straight));
        assert(await digestIn(folder) !== interrupted, "what was resumed trained nothing");
        assertEquals(losses.length, 3);
      })
    ));
}
