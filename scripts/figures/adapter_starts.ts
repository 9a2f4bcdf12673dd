/**
 * What the choices of docs/train.md cost on a model, as JSON lines: processor seconds to initialise adapters
 * from its weights, and the predicted memory of a step of all linear layers, with A trained and frozen.
 *
 * usage: deno run -A scripts/figures/adapter_starts.ts MODEL
 */
import { targetsOf } from "../../src/finetune/adapter_targets.ts";
import { addAdapter } from "../../src/finetune/add_adapter.ts";
import { openBase } from "../../src/finetune/base_model.ts";
import { resolveConfig } from "../../src/finetune/mod.ts";
import { startAdapter } from "../../src/finetune/start_adapter.ts";
import { parameterBytes } from "../../src/model/predict_training.ts";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { predictMemory } from "../../src/plan/memory.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { PROCESS_MEMORY } from "../../src/system/process_memory.ts";

const [model] = Deno.args;
using base = openBase(model);
const ALL = ["all-linear"];

for (const freezeA of [false, true]) {
  const config = resolveConfig({ model, data: "none", targetModules: ALL, freezeA });
  const adapted = addAdapter(base.model, config, undefined);
  const plan = planTraining(adapted.model, {
    ...{ batch: 4, length: 256, targetRows: 512, keepBytes: Number.MAX_SAFE_INTEGER },
    trainable: adapted.trained,
    arithmetic: arithmeticOf({ dequantForm: "arithmetic", readyWeights: true }),
  });
  const { peakBytes, savedBytes, adapterBytes } = predictMemory({
    ...{ process: PROCESS_MEMORY, plans: [plan], before: [], moments: 2, accumulates: false },
    parameterBytes: parameterBytes(adapted.model, adapted.trained),
    ...{ weightBytes: base.sizeBytes, comparedBytes: 0, tokenizerBytes: 0 },
  });
  console.log(JSON.stringify({ freezeA, peakBytes, savedBytes, adapterBytes }));
}

/** User and system time of this process, in seconds of 100 ticks. */
function processorSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const starts = [
  ["olora", ALL],
  ["pissa_niter_16", ["q", "v"]],
  ["pissa_niter_16", ALL],
  ["pissa", ["q", "v"]],
] as const;
for (const [initLoraWeights, targetModules] of starts) {
  const config = resolveConfig({ model, data: "none", initLoraWeights, targetModules });
  const { sites } = targetsOf(base.model, config);
  const began = processorSeconds();
  startAdapter(base.model, sites, config);
  const seconds = Number((processorSeconds() - began).toFixed(1));
  console.log(JSON.stringify({ initLoraWeights, targetModules, layers: sites.length, seconds }));
}
