/** Merges adapters into a model on disk and measures the result, given paths and settings. */
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import { batchesDigest } from "../data/batches_digest.ts";
import { type Communicator, digestOf } from "../distributed/communicator.ts";
import { compareRanks, inJob, RANKS_PARAMETERS, type RanksConfig } from "../distributed/job.ts";
import type { Model } from "../graph/types.ts";
import type { Adapter } from "../lora/adapter_files.ts";
import { peftTensors } from "../lora/adapter_tensors.ts";
import { checkBase } from "../lora/apply.ts";
import { modelDigest } from "../lora/digest.ts";
import type { Decision } from "../lora/merge/certificate_report.ts";
import type { MergeMethod, WeightedAdapter } from "../lora/merge/mod.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import { adapterFolder } from "../model/adapter_dir.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { mergeAdapters } from "../model/merge_adapters.ts";
import type { MergeData } from "../model/merge_request.ts";
import type { MergeReport } from "../model/merge_progress.ts";
import { checkTarget } from "../model/staged_directory.ts";
import { checkNotBase, checkSpares } from "../model/write_model.ts";
import { openRunner, type RuntimeOptions } from "../runtime/open_runner.ts";
import type { RuntimeNote } from "../runtime/runtime_note.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import { openMapped } from "../system/mapped_file.ts";
import { MEASURING_PARAMETERS, type MeasuringConfig, openMeasuring } from "./measuring.ts";
import type { MergeDataEvent } from "./merge_data.ts";
import type { Watch } from "./watch.ts";
import { loadWeighted } from "./weighted_adapters.ts";

/** What is merged, into which base, how, and how the result is measured. */
export interface MergeConfig extends MeasuringConfig, RuntimeOptions, RanksConfig {
  /** The base: folder of an ONNX model, its `.onnx` file, the name of a pulled model, or `default`. */
  readonly model: string;
  /** Folders or names of the adapters, which are merged together; default `adapters`. */
  readonly adapterPath: readonly string[];
  /** Weight of each adapter; default 1 for each. */
  readonly adapterWeights?: readonly number[];
  /** Folder to write; default `merged`. */
  readonly savePath: string;
  /**
   * How to round. `auto`, the default, tries one method after another until enough of the gain is kept;
   * `tuned` puts the change into the scales and trains them while the codes stay as they are; `float` stores
   * all linear layers as floats.
   */
  readonly method: "auto" | "nearest" | "compensated" | "tuned" | "8bit" | "float";
  /** Whether adapted matrices may move to 8 bits if their own form keeps too little; default false. */
  readonly allowLarger: boolean;
  /**
   * Whether to replace `savePath`, and to write the best result even if it keeps too little; default false.
   */
  readonly force: boolean;
}

/** The parameters of a {@linkcode MergeConfig}, except weights. */
export const MERGE_PARAMETERS = {
  ...MEASURING_PARAMETERS,
  ...RUNTIME_PARAMETERS,
  ...RANKS_PARAMETERS,
  model: { kind: "text", required: true },
  adapterPath: { kind: "list", default: ["adapters"] },
  savePath: { kind: "text", default: "merged" },
  method: {
    kind: "text",
    choices: ["auto", "nearest", "compensated", "tuned", "8bit", "float"],
    default: "auto",
  },
  allowLarger: { kind: "boolean", default: false },
  force: { kind: "boolean", default: false },
} as const satisfies ParametersOf<Omit<MergeConfig, "adapterWeights">>;

/** A {@linkcode MergeConfig} as a program writes it: absent parameters take their defaults. */
export type MergeInput = Given<MergeConfig, "model">;

/** What a merge reports while it runs. */
export type MergeEvent =
  | RuntimeNote
  /** Several processes merge together. */
  | { readonly kind: "ranks"; readonly count: number; readonly library: string }
  | MergeDataEvent
  | AdapterNote
  /** A finding on the way: losses, or methods that do not work out; a sentence. */
  | { readonly kind: "finding"; readonly text: string }
  /** Of several adapters, only this one's data is used for measuring. */
  | { readonly kind: "data of one"; readonly adapter: string }
  /** A matrix, batch or run is done. */
  | { readonly kind: "progress"; readonly report: MergeReport };

/**
 * Merges adapters into a model's own weights, measures how much of their gain on held-out data is kept, and
 * writes the best result with its certificate in `certificate.json`. Of processes that an MPI launcher has
 * started each measures a part of the held-out batches, and the first one writes.
 *
 * @returns what was measured, and what was chosen
 * @throws {ParameterError} for a setting that is unknown, missing, out of range, or needs data
 * @throws {UsageError} if the folder exists or is what the merge is made from
 * @throws {BadInputError} for a model, adapter or data that cannot be used, and for adapters of another base
 * @throws {RefusedError} if no method keeps enough, or nothing would change
 * @throws {StorageError} naming what could not be written
 * @throws {RuntimeFailure} if ONNX Runtime is missing, or cannot run what a method makes
 *
 * @example
 * ```ts
 * import { fineTune } from "../finetune/mod.ts";
 * import { formatCertificate } from "../lora/merge/certificate_report.ts";
 * import { merge } from "./merge.ts";
 *
 * await fineTune({ model: "./model-int4", data: "./data", iters: 4, adapterPath: "./card-lora" });
 * const certificate = await merge({
 *   model: "./model-int4",
 *   adapterPath: ["./card-lora"],
 *   savePath: "./card-merged",
 *   method: "nearest",
 *   force: true, // four steps teach little
 * });
 * console.log(formatCertificate(certificate).join("\n"));
 * ```
 */
export async function merge(
  { adapterWeights, ...input }: MergeInput,
  { onEvent = () => {}, signal }: Watch<MergeEvent> = {},
): Promise<Decision> {
  const config = wholeConfig<Omit<MergeConfig, "adapterWeights">>(MERGE_PARAMETERS, input);
  return await inJob(
    { timeout: config.collectiveTimeout },
    (ranks) => mergeAs(ranks, config, adapterWeights, { onEvent, signal }),
  );
}

async function mergeAs(
  ranks: Communicator | undefined,
  config: Omit<MergeConfig, "adapterWeights">,
  adapterWeights: MergeInput["adapterWeights"],
  { onEvent, signal }: Watch<MergeEvent> & Required<Pick<Watch<MergeEvent>, "onEvent">>,
): Promise<Decision> {
  if (ranks !== undefined) {
    onEvent({ kind: "ranks", count: ranks.count, library: ranks.library });
  }
  const { savePath, force, data } = config;
  const path = findModelFile(config.model);
  // Before any work: `force` must not remove what the merge is made from.
  checkNotBase(savePath, path);
  for (const adapter of config.adapterPath) {
    checkSpares(savePath, adapter, `the adapter ${adapter}`);
  }
  if (data !== undefined) checkSpares(savePath, data, `the data ${data}`);
  checkTarget(savePath, force);
  using base = loadOnnx(path, openMapped);
  const adapters = loadWeighted(config.adapterPath, adapterWeights, onEvent);
  for (const { adapter, label } of adapters) checkBase(adapter, base.model, label);
  const made = adapters.find(({ adapter }) => adapter.card !== undefined);
  if (data === undefined && adapters.length > 1 && made !== undefined) {
    onEvent({ kind: "data of one", adapter: made.label });
  }
  using runner = openRunner(config, {
    modelBytes: base.sizeBytes,
    onNote: (message) => onEvent({ kind: "runtime note", message }),
  });
  const from = { path, model: base.model, sizeBytes: base.sizeBytes };
  const alone = adapters.length === 1 && adapters[0].weight === 1 ? adapters[0] : undefined;
  const measured = { card: made?.adapter.card, folder: alone && adapterFolder(alone.label) };
  using measuring = await openMeasuring(config, runner, from, measured, onEvent);
  signal?.throwIfAborted();
  const measuredOn = ranks === undefined
    ? measuring.request.data
    : await sameData(ranks, from.model, config, adapters, measuring.request.data);
  return await mergeAdapters(runner, {
    ...measuring.request,
    data: measuredOn,
    peers: ranks,
    base: from,
    adapters,
    savePath,
    method: methodOf(config.method),
    allowLarger: config.allowLarger,
    force,
    onNote: (text) => onEvent({ kind: "finding", text }),
    onProgress: (report) => onEvent({ kind: "progress", report }),
    signal,
  });
}

/**
 * Compares what the ranks are given.
 *
 * @returns the data, with the losses that rank 0 knows
 * @throws {UsageError} if a rank has another base, adapter or other data, or was given other settings
 */
async function sameData(
  ranks: Communicator,
  base: Model,
  { threads: _threads, ortLib: _ortLib, ...settings }: Omit<MergeConfig, "adapterWeights">,
  adapters: readonly WeightedAdapter[],
  data: MergeData | undefined,
): Promise<MergeData | undefined> {
  const identity = {
    base: modelDigest(base),
    adapters: adapters.map(({ adapter, weight }) => `${weight} ${adapterDigest(adapter)}`).join(),
    data: data === undefined ? "none" : await batchesDigest(data.heldOut()),
    settings: JSON.stringify(settings),
  };
  await compareRanks(ranks, identity, "merge");
  if (data === undefined) return undefined;
  const own = new TextEncoder().encode(JSON.stringify(data.known ?? null));
  const known = JSON.parse(new TextDecoder().decode(await ranks.broadcast(own)));
  return { ...data, known: known ?? undefined };
}

function adapterDigest(adapter: Adapter): string {
  const { config } = adapter;
  const tensors = peftTensors(adapter, config.adapterType, config.vectorMethod);
  const digests = [...tensors].map(([name, { bytes }]) => `${name} ${digestOf(bytes)}`);
  return digestOf(new TextEncoder().encode([JSON.stringify(config), ...digests].join()));
}

const methodOf = (method: MergeConfig["method"]): MergeMethod | undefined =>
  method === "auto" ? undefined : method;
