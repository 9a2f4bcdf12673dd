/** Composes a new adapter from adapters, given paths and settings. */
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import { ParameterError, UsageError } from "../errors.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import { adapterSites, checkBase } from "../lora/apply.ts";
import {
  COMBINATION_TYPES,
  type CombinationType,
  type MajoritySignMethod,
} from "../lora/compose/combination.ts";
import { combineAdapters } from "../lora/compose/combine_adapters.ts";
import { type RankShare, rankShares } from "../lora/compose/rank_shares.ts";
import { modelDigest } from "../lora/digest.ts";
import type { WeightedAdapter } from "../lora/merge/mod.ts";
import { findModules } from "../lora/modules.ts";
import { adapterDigest, adapterFolder, saveAdapter } from "../model/adapter_dir.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { checkSpares } from "../model/write_model.ts";
import { exists } from "../system/durable_files.ts";
import { openMapped } from "../system/mapped_file.ts";
import type { Watch } from "./watch.ts";
import { loadWeighted } from "./weighted_adapters.ts";

/** What is composed of what. */
export interface ComposeConfig {
  /** Folders or names of the adapters. */
  readonly adapterPath: readonly string[];
  /** Weight of each adapter; negative ones subtract; default 1 each. */
  readonly adapterWeights?: readonly number[];
  /** PEFT's `combination_type`; default `svd`. */
  readonly combinationType: CombinationType;
  /** Rank of the result, for the types that end in `svd`; default the largest of the adapters. */
  readonly rank?: number;
  /** Share of the elements that `ties`, `dare` and `magnitude_prune` keep, in (0, 1]. */
  readonly density?: number;
  /** How `ties` elects a sign: by the sum of the values, or by their number; default `total`. */
  readonly majoritySignMethod: MajoritySignMethod;
  /** Of the elements that `dare` drops; default 0. */
  readonly seed: number;
  /**
   * The base, with which the adapters are compared; needed if none of them has graft's `graft.json`,
   * which names it.
   */
  readonly model?: string;
  /** Folder to write; default `composed`. */
  readonly savePath: string;
  /** Whether an adapter at `savePath` is replaced; default false. */
  readonly force: boolean;
}

/** The parameters of a {@linkcode ComposeConfig}, but for its weights. */
export const COMPOSE_PARAMETERS = {
  adapterPath: { kind: "list", required: true },
  combinationType: { kind: "text", choices: COMBINATION_TYPES, default: "svd" },
  rank: { kind: "integer", min: 1, max: 65_536, aliases: ["svd", "svdRank"] },
  density: { kind: "number", min: 0, max: 1 },
  majoritySignMethod: { kind: "text", choices: ["total", "frequency"], default: "total" },
  seed: { kind: "integer", default: 0, min: 0 },
  model: { kind: "text" },
  savePath: { kind: "text", default: "composed" },
  force: { kind: "boolean", default: false },
} as const satisfies ParametersOf<Omit<ComposeConfig, "adapterWeights">>;

/** A {@linkcode ComposeConfig} as a program writes it: absent parameters take their defaults. */
export type ComposeInput = Given<ComposeConfig, "adapterPath">;

/** What was composed. */
export interface Composed {
  /** Rank of the new adapter. */
  readonly rank: number;
  /** Number of adapted modules. */
  readonly modules: number;
  /** What each rank would keep of the whole update, for the types that end in `svd`. */
  readonly kept: readonly RankShare[];
}

/**
 * Writes a new adapter: a weighted sum of adapters, exactly (`cat`) or at a rank (`svd`), or one of PEFT's
 * other combinations.
 *
 * @throws {ParameterError} for a setting that is unknown, out of range or not of the combination
 * @throws {UsageError} for heads that would have to be mixed, and if the folder exists
 * @throws {BadInputError} for adapters that cannot be combined: of scales, of other bases
 * @throws {StorageError} naming what could not be written
 *
 * @example
 * ```ts
 * import { composeAdapters } from "./compose.ts";
 *
 * const { rank, kept } = composeAdapters({
 *   adapterPath: ["./facts", "./style"],
 *   model: "./model-int4", // they were made by PEFT, which does not note the base
 *   adapterWeights: [1, -0.5],
 *   rank: 8,
 *   savePath: "./facts-without-style",
 * });
 * console.log(rank, kept.at(-1)?.share);
 * ```
 */
export function composeAdapters(
  { adapterWeights, ...input }: ComposeInput,
  { onEvent = () => {} }: Pick<Watch<AdapterNote>, "onEvent"> = {},
): Composed {
  const config = wholeConfig<Omit<ComposeConfig, "adapterWeights">>(COMPOSE_PARAMETERS, input);
  const { adapterPath, savePath, force } = config;
  for (const path of adapterPath) {
    checkSpares(savePath, adapterFolder(path), `the adapter ${path}`);
  }
  if (!force && exists(savePath)) {
    throw new UsageError((name) =>
      `${savePath} exists: choose another ${name("savePath")}, or replace it with ${
        name("force", true)
      }`
    );
  }
  const adapters = loadWeighted(adapterPath, adapterWeights, onEvent);
  const baseDigest = baseOf(config.model, adapters);
  const { adapter, spectra } = combineAdapters(adapters, {
    ...config,
    type: config.combinationType,
  });
  saveAdapter(savePath, { ...adapter, card: cardOf(adapters, baseDigest) });
  const { rank } = adapter.config;
  return {
    rank,
    modules: adapter.lora.size,
    kept: spectra.size === 0 ? [] : rankShares(spectra, rank),
  };
}

/**
 * Digest of the base that adapters belong to.
 *
 * @throws {BadInputError} if one does not fit the model
 * @throws {ParameterError} if nothing says what the base is
 */
function baseOf(path: string | undefined, adapters: readonly WeightedAdapter[]): string {
  if (path !== undefined) {
    using base = loadOnnx(findModelFile(path), openMapped);
    const modules = findModules(base.model);
    for (const { adapter, label } of adapters) {
      checkBase(adapter, base.model, label);
      adapterSites(modules, adapter);
    }
    return modelDigest(base.model);
  }
  const known = adapters.find(({ adapter }) => adapter.card !== undefined);
  if (known !== undefined) return known.adapter.card!.baseDigest;
  throw new ParameterError(
    "model",
    (name) =>
      `${adapters[0].label} was not made by graft, so it does not say which base it belongs to: ` +
      `give the base with ${name("model")}`,
  );
}

/** What the adapters' cards agree on. */
function cardOf(adapters: readonly WeightedAdapter[], baseDigest: string): AdapterCard {
  const cards = adapters.flatMap(({ adapter: { card } }) => card ?? []);
  const agreed = <K extends keyof AdapterCard>(key: K): AdapterCard[K] | undefined =>
    cards.length === adapters.length && cards.every((card) => card[key] === cards[0][key])
      ? cards[0]?.[key]
      : undefined;
  const dataDigest = agreed("dataDigest");
  return {
    baseDigest,
    tokenizerDigest: agreed("tokenizerDigest"),
    task: cards[0]?.task ??
      (adapters[0].adapter.config.taskType === "SEQ_CLS" ? "classification" : "causal"),
    labels: cards.find(({ labels }) => labels !== undefined)?.labels,
    pooling: adapters.find(({ adapter }) => adapter.head !== undefined)?.adapter.card?.pooling,
    dataDigest,
    parents: adapters.map(({ label }) => adapterDigest(label)),
    // The settings say which data a merge measures on: those of all, or none.
    config: dataDigest === undefined ? {} : cards[0].config,
  };
}
