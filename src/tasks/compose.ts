/** Composes a new adapter from adapters, given paths and settings. */
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import { DATA_PARAMETERS, type DataConfig } from "../data/data_config.ts";
import { ParameterError, UsageError } from "../errors.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import { adapterSites, checkBase } from "../lora/apply.ts";
import {
  COMBINATION_TYPES,
  type CombinationType,
  isSvd,
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
import type { RuntimeOptions } from "../runtime/open_runner.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import { exists } from "../system/durable_files.ts";
import { openMapped } from "../system/mapped_file.ts";
import { EVALUATE_PARAMETERS } from "./evaluate.ts";
import { type MeasuredRanks, type MeasureEvent, measureRanks } from "./measure_ranks.ts";
import type { Watch } from "./watch.ts";
import { loadWeighted } from "./weighted_adapters.ts";

/** What is composed of what, and what its ranks are measured with. */
export interface ComposeConfig extends DataConfig, RuntimeOptions {
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
  /**
   * Data to measure ranks on, for the types that end in `svd`: a folder, of which the test part (else valid,
   * else train) is used, or one file; needs `model`. Default: nothing is measured.
   */
  readonly data?: string;
  /** Ranks to show and measure; default 1, 2, 4, … and that of the result. */
  readonly ranks?: readonly number[];
  /** Rows per batch of the measurement, at least 1; default 8. */
  readonly batchSize: number;
  /** Folder to write; default `composed`. */
  readonly savePath: string;
  /** Whether an adapter at `savePath` is replaced; default false. */
  readonly force: boolean;
}

/** Parameters that are lists of numbers, which no table describes. */
type Numbers = "adapterWeights" | "ranks";

/** The parameters of a {@linkcode ComposeConfig}, but for its weights and ranks. */
export const COMPOSE_PARAMETERS = {
  ...DATA_PARAMETERS,
  ...RUNTIME_PARAMETERS,
  adapterPath: { kind: "list", required: true },
  combinationType: { kind: "text", choices: COMBINATION_TYPES, default: "svd" },
  rank: { kind: "integer", min: 1, max: 65_536, aliases: ["svd", "svdRank"] },
  density: { kind: "number", min: 0, max: 1 },
  majoritySignMethod: { kind: "text", choices: ["total", "frequency"], default: "total" },
  seed: { kind: "integer", default: 0, min: 0 },
  model: { kind: "text" },
  data: { kind: "text" },
  batchSize: EVALUATE_PARAMETERS.batchSize,
  savePath: { kind: "text", default: "composed" },
  force: { kind: "boolean", default: false },
} as const satisfies ParametersOf<Omit<ComposeConfig, Numbers>>;

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
  /** What the ranks of `kept` and the base give on the data, if there is any. */
  readonly measured?: MeasuredRanks;
}

/** What composing reports while it runs. */
export type ComposeEvent =
  | AdapterNote
  /** A module is about to be combined. */
  | {
    readonly kind: "module";
    readonly path: string;
    readonly done: number;
    readonly total: number;
  }
  | MeasureEvent;

/**
 * Writes a new adapter: a weighted sum of adapters, exactly (`cat`) or at a rank (`svd`), or one of PEFT's
 * other combinations.
 *
 * @throws {ParameterError} for a setting that is unknown, out of range or not of the combination
 * @throws {UsageError} for heads that would have to be mixed, and if the folder exists
 * @throws {BadInputError} for adapters that cannot be combined: of scales, of other bases
 * @throws {StorageError} naming what could not be written
 * @throws the reason of the signal; nothing is written then
 *
 * @example
 * ```ts
 * import { composeAdapters } from "./compose.ts";
 *
 * const { rank, kept } = await composeAdapters({
 *   adapterPath: ["./facts", "./style"],
 *   model: "./model-int4", // they were made by PEFT, which does not note the base
 *   adapterWeights: [1, -0.5],
 *   rank: 8,
 *   savePath: "./facts-without-style",
 * });
 * console.log(rank, kept.at(-1)?.share);
 * ```
 */
export async function composeAdapters(
  { adapterWeights, ranks, ...input }: ComposeInput,
  { onEvent = () => {}, signal }: Watch<ComposeEvent> = {},
): Promise<Composed> {
  const config = wholeConfig<Omit<ComposeConfig, Numbers>>(COMPOSE_PARAMETERS, input);
  const { adapterPath, savePath, force, combinationType: type } = config;
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
  checkMeasuring(config, ranks);
  const adapters = loadWeighted(adapterPath, adapterWeights, onEvent);
  const baseDigest = baseOf(config.model, adapters);
  const combine = (rank: number | undefined) =>
    combineAdapters(adapters, { ...config, rank, type }, async (path, done, total) => {
      // Lets a signal come through.
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      onEvent({ kind: "module", path, done, total });
    });
  const { adapter, spectra } = await combine(config.rank);
  const card = cardOf(adapters, baseDigest);
  const { rank } = adapter.config;
  const kept = spectra.size === 0 ? [] : rankShares(spectra, rank, ranks);
  const measured = config.data === undefined || kept.length === 0 ? undefined : await measureRanks(
    {
      ...{ adapter: (await combine(kept.at(-1)!.rank)).adapter, card },
      ranks: kept.map(({ rank }) => rank),
    },
    { ...config, model: config.model!, data: config.data },
    { onEvent, signal },
  );
  signal?.throwIfAborted();
  saveAdapter(savePath, { ...adapter, card });
  return {
    rank,
    modules: adapter.lora.size,
    kept,
    ...(measured === undefined ? {} : { measured }),
  };
}

/** @throws {ParameterError} for ranks or data that the combination cannot use, and data without a model */
function checkMeasuring(
  { combinationType, data, model }: Omit<ComposeConfig, Numbers>,
  ranks: readonly number[] | undefined,
): void {
  const given = data === undefined ? ranks === undefined ? undefined : "ranks" : "data";
  if (given === undefined) return;
  if (!isSvd(combinationType)) {
    throw new ParameterError(
      given,
      (name) =>
        `${name(given)} needs a combination that ends in svd: ${
          name("combinationType")
        } is ${combinationType}`,
    );
  }
  const bad = ranks?.find((rank) => !Number.isInteger(rank) || rank < 1);
  if (bad !== undefined) {
    throw new ParameterError(
      "ranks",
      (name) => `${name("ranks")} must be whole numbers >= 1: current value is ${bad}`,
    );
  }
  if (data !== undefined && model === undefined) {
    throw new ParameterError(
      "model",
      (name) => `${name("data")} needs the base to measure on: give it with ${name("model")}`,
    );
  }
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
