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
  /** Default: three times the rank. */
  readonly alpha?: number;
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly alphaPattern?: Readonly<Record<string, number>>;
  readonly useRslora?: boolean;
  /** Distinguishes adapters. */
  readonly seed: number;
  /** Digest of another base. */
  readonly baseDigest?: string;
}

/** Saves a random adapter of a tiny model. */
export function saveRandomAdapter(
  folder: string,
  name: string,
  { rank = 4, targetModules = ["q_proj", "v_proj"], seed, baseDigest, ...given }: RandomAdapter,
): void {
  const model = readModel(modelDir(name));
  const { alpha = 3 * rank, rankPattern = {}, alphaPattern = {}, useRslora = false } = given;
  const config = {
    ...DEFAULT_LORA,
    rank,
    alpha,
    targetModules,
    rankPattern,
    alphaPattern,
    useRslora,
  };
  const sites = resolveTargets(findModules(model), config);
  saveAdapter(folder, {
    config: {
      ...config,
      adapterType: "lora",
      taskType: "CAUSAL_LM",
      gaussian: false,
    },
    lora: new Map(sites.map(({ module: { path, inFeatures, outFeatures }, rank }, i) => [path, {
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
