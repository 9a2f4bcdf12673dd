/** Exports adapters for applications that use ONNX Runtime themselves, given paths and settings. */
import { basename, dirname, join } from "@std/path";
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import { ParameterError } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import { adapterSites, checkBase } from "../lora/apply.ts";
import { modelDigest } from "../lora/digest.ts";
import { findModules } from "../lora/modules.ts";
import { encodeOnnxAdapter } from "../lora/onnx_adapter.ts";
import {
  injectSwitched,
  noAdapter,
  switchedAdapter,
  type SwitchedModel,
  versionOf,
} from "../lora/switched.ts";
import { adapterFolder, loadAdapter } from "../model/adapter_dir.ts";
import { findModelFile } from "../model/find_model.ts";
import { clearLeftovers } from "../model/leftovers.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { checkTarget, StagedDirectory } from "../model/staged_directory.ts";
import { checkNotBase, checkSpares, writeModel } from "../model/write_model.ts";
import { openMapped } from "../system/mapped_file.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import type { Watch } from "./watch.ts";

/** What is exported, and where to. */
export interface ExportConfig {
  /** The base: folder of an ONNX model, its `.onnx` file, the name of a pulled model, or `default`. */
  readonly model: string;
  /** Folders or names of the adapters, each of which becomes a file; default `adapters`. */
  readonly adapterPath: readonly string[];
  /** Folder to write; default `exported`. */
  readonly savePath: string;
  /** Whether an existing model folder at `savePath` is replaced; default false. */
  readonly force: boolean;
}

/** The parameters of an {@linkcode ExportConfig}. */
export const EXPORT_PARAMETERS = {
  model: { kind: "text", required: true },
  adapterPath: { kind: "list", default: ["adapters"] },
  savePath: { kind: "text", default: "exported" },
  force: { kind: "boolean", default: false },
} as const satisfies ParametersOf<ExportConfig>;

/** An {@linkcode ExportConfig} as a program writes it: absent parameters take their defaults. */
export type ExportInput = Given<ExportConfig, "model">;

/** What was written. */
export interface Exported {
  /** Names of the adapters' files in the folder. */
  readonly adapters: readonly string[];
  /** Inputs of the model that take matrices. */
  readonly inputs: number;
}

/**
 * Writes a copy of a model whose low-rank matrices are inputs, and a `.onnx_adapter` file for each adapter.
 * ONNX Runtime runs it as the base, or with any of the adapters, which change from run to run.
 *
 * @throws {ParameterError} for adapters of one name
 * @throws {UsageError} if the folder exists or is what the export is made from
 * @throws {BadInputError} for a model or adapter that cannot be used
 * @throws {StorageError} naming what could not be written
 *
 * @example
 * ```ts
 * import { fineTune } from "../finetune/mod.ts";
 * import { exportAdapters } from "./export.ts";
 *
 * await fineTune({ model: "./model-int4", data: "./data", iters: 4, adapterPath: "./lamp-lora" });
 * const { adapters } = await exportAdapters({
 *   model: "./model-int4",
 *   adapterPath: ["./lamp-lora"],
 *   savePath: "./lamp-exported",
 * });
 * console.log(adapters); // ["lamp-lora.onnx_adapter"]
 * ```
 */
export async function exportAdapters(
  input: ExportInput,
  { onEvent = () => {} }: Watch<AdapterNote> = {},
): Promise<Exported> {
  const config = wholeConfig<ExportConfig>(EXPORT_PARAMETERS, input);
  const { savePath, adapterPath, force } = config;
  const path = findModelFile(config.model);
  checkNotBase(savePath, path);
  for (const adapter of adapterPath) checkSpares(savePath, adapter, `the adapter ${adapter}`);
  clearLeftovers(dirname(savePath));
  checkTarget(savePath, force);
  using base = loadOnnx(path, openMapped);
  const modules = findModules(base.model);
  const adapters = adapterPath.map((label) => {
    const { adapter, notes } = loadAdapter(label);
    for (const text of notes) onEvent({ kind: "adapter note", text });
    checkBase(adapter, base.model, label);
    const sites = adapterSites(modules, adapter);
    return { label, adapter, paths: sites.map(({ module }) => module.path) };
  });
  const names = adapters.map(({ label }) => `${basename(adapterFolder(label))}.onnx_adapter`);
  checkNames(names);
  const adapted = new Set(adapters.flatMap(({ paths }) => paths));
  const switched = injectSwitched(base.model, modules.filter(({ path }) => adapted.has(path)));
  const modelVersion = versionOf(modelDigest(base.model));
  const files = adapters.map(({ adapter, label }) =>
    encodeOnnxAdapter({
      modelVersion,
      tensors: switchedAdapter(modules, switched.products, adapter, label),
    })
  );
  using staged = new StagedDirectory(savePath);
  await writeModel(staged, { path, model: base.model }, withNoAdapter(switched), async () => {});
  files.forEach((bytes, i) => staged.write(names[i], [bytes]));
  // What is written must open.
  using _ = loadOnnx(join(staged.path, basename(path)), openMapped);
  staged.commit(force);
  return { adapters: names, inputs: 2 * switched.products.length };
}

/** The model with a rank of 0 where a run gives no adapter. */
function withNoAdapter({ model, products }: SwitchedModel): Model {
  const { graph } = model;
  const initializers = new Map([...graph.initializers, ...noAdapter(products)]);
  return { ...model, graph: { ...graph, initializers } };
}

/** @throws {ParameterError} for a name that two adapters would have */
function checkNames(names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice === undefined) return;
  throw new ParameterError(
    "adapterPath",
    (name) =>
      `${name("adapterPath")} must be folders of different names: ${twice} is written twice`,
  );
}
