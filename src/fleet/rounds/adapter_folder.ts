/** Adapters of a fleet as PEFT's files, which `graft train`, `merge` and `serve` read. */
import { formatPeftConfig } from "../../lora/peft_config.ts";
import { peftTensors } from "../../lora/adapter_tensors.ts";
import { ADAPTER_FILES } from "../../lora/adapter_files.ts";
import type { LoraWeights } from "../../lora/lora_weights.ts";
import { safetensorsParts } from "../../safetensors/mod.ts";
import { replaceDirectory } from "../../system/durable_files.ts";
import type { FleetLayer } from "./layout.ts";

/** Writes or replaces an adapter's folder; without `graft.json`, since no training of this box made it. */
export function writeFleetAdapter(
  folder: string,
  layers: readonly FleetLayer[],
  weights: ReadonlyMap<string, LoraWeights>,
  alpha: number,
  base: string,
): void {
  const rank = layers[0].rank;
  const others = layers.filter((layer) => layer.rank !== rank);
  const config = formatPeftConfig({
    ...{ adapterType: "lora", rank, alpha, dropout: 0, alphaPattern: {} },
    rankPattern: Object.fromEntries(others.map((layer) => [layer.name, layer.rank])),
    ...{ useRslora: false, useDora: false, modulesToSave: [], gaussian: false },
    targetModules: layers.map(({ name }) => name),
    base,
  });
  const tensors = peftTensors({ lora: weights, saved: new Map() });
  replaceDirectory(
    folder,
    new Map([
      [ADAPTER_FILES.config, [new TextEncoder().encode(config)]],
      [ADAPTER_FILES.tensors, safetensorsParts(tensors)],
    ]),
  );
}
