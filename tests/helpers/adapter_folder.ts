/** Folders of random adapters that change what a model answers. */
import { modelDigest } from "../../src/lora/digest.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { findModules } from "../../src/lora/modules.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { saveAdapter } from "../../src/model/adapter_dir.ts";
import { modelDir, readModel } from "./fixture_models.ts";
import { normal } from "./directional.ts";

export interface RandomAdapter {
  readonly rank?: number;
  readonly targetModules?: readonly string[];
  /** Distinguishes adapters. */
  readonly seed: number;
  /** Digest of another base. */
  readonly baseDigest?: string;
}

/** Saves a random adapter of a tiny model. */
export function saveRandomAdapter(
  folder: string,
  name: string,
  { rank = 4, targetModules = ["q_proj", "v_proj"], seed, baseDigest }: RandomAdapter,
): void {
  const model = readModel(modelDir(name));
  const config = { ...DEFAULT_LORA, rank, alpha: 3 * rank, targetModules };
  const sites = resolveTargets(findModules(model), config);
  saveAdapter(folder, {
    config: {
      adapterType: "lora",
      rank,
      alpha: config.alpha,
      dropout: 0,
      rankPattern: {},
      alphaPattern: {},
      useRslora: false,
      targetModules,
      modulesToSave: [],
      taskType: "CAUSAL_LM",
      gaussian: false,
    },
    lora: new Map(sites.map(({ module: { path, inFeatures, outFeatures } }, i) => [path, {
      a: normal([rank, inFeatures], 1000 * seed + 2 * i, 0.2),
      b: normal([outFeatures, rank], 1000 * seed + 2 * i + 1, 0.2),
    }])),
    saved: new Map(),
    card: {
      baseDigest: baseDigest ?? modelDigest(model),
      task: "causal",
      config: {},
    },
  });
}
