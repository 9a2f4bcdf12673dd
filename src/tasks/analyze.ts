/** Analyses adapters against their base, given paths and settings. */
import type { Analysis, MatrixAnalysis } from "../analysis/analysis.ts";
import { analyzeMatrix } from "../analysis/analyze_matrix.ts";
import { layerDrift } from "../analysis/layer_drift.ts";
import type { LowRankUpdate } from "../analysis/low_rank_update.ts";
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import { BadInputError, ParameterError } from "../errors.ts";
import { toNumbers } from "../graph/tensor.ts";
import { adapterSites, checkBase } from "../lora/apply.ts";
import { DEFAULT_LORA, parseLayers } from "../lora/config.ts";
import { indexGraph } from "../lora/graph_index.ts";
import { findModules, type LinearModule } from "../lora/modules.ts";
import type { WeightedAdapter } from "../lora/merge/mod.ts";
import { methodsOf } from "../lora/peft_config.ts";
import { isLowRank, METHOD_NAMES } from "../lora/peft_type.ts";
import { weightValues } from "../lora/stored_matrix.ts";
import { type LoraSite, resolveTargets } from "../lora/targets.ts";
import { adapterFolder } from "../model/adapter_dir.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { Random } from "../random.ts";
import { openMapped } from "../system/mapped_file.ts";
import { driftOverSteps } from "./drift_over_steps.ts";
import { matrixOfTensor } from "./matrix_of_tensor.ts";
import type { Watch } from "./watch.ts";
import { loadWeighted } from "./weighted_adapters.ts";

/** What is analysed. */
export interface AnalyzeConfig {
  /** The base: folder of an ONNX model, its `.onnx` file, the name of a pulled model, or `default`. */
  readonly model: string;
  /** Folder or name of the adapter; with a second one the two are compared. */
  readonly adapterPath: readonly string[];
  /** Numbers of the layers to analyse, as `0-3,8`; default: all that are adapted. */
  readonly layers?: string;
  /** Modules to analyse, as for `graft train`; default: all that are adapted. */
  readonly targetModules?: readonly string[];
  /**
   * Whether to compute the singular values of W and W', which takes most of the time; default true.
   */
  readonly spectra: boolean;
  /** Seed of the random directions; default 0. */
  readonly seed: number;
}

/** The parameters of an {@linkcode AnalyzeConfig}. */
export const ANALYZE_PARAMETERS = {
  model: { kind: "text", required: true },
  adapterPath: { kind: "list", default: ["adapters"] },
  layers: { kind: "text" },
  targetModules: { kind: "list" },
  spectra: { kind: "boolean", default: true },
  seed: { kind: "integer", default: 0, min: 0 },
} as const satisfies ParametersOf<AnalyzeConfig>;

/** An {@linkcode AnalyzeConfig} as a program writes it: absent parameters take their defaults. */
export type AnalyzeInput = Given<AnalyzeConfig, "model">;

/** What an analysis reports while it runs. */
export type AnalyzeEvent =
  | AdapterNote
  /** A matrix is done: how many so far, and of how many. */
  | {
    readonly kind: "matrix";
    readonly path: string;
    readonly done: number;
    readonly total: number;
  };

/** Larger matrices get no singular values of W: they would take minutes each. */
const MOST_SIDE = 4096;

/**
 * Measures what adapters change in the weights of their base: singular values and numerical ranks,
 * amplified directions, drift, and what two adapters have in common.
 *
 * Memory holds one weight at a time, as floats. A square matrix of 576 takes about a second, of 4096
 * minutes, unless `spectra` is false.
 *
 * @throws {ParameterError} for more than two adapters, and for layers or modules that none adapts
 * @throws {BadInputError} for a model or adapter that cannot be used
 *
 * @example
 * ```ts
 * import { analyze } from "./analyze.ts";
 *
 * const { matrices } = await analyze({ model: "./model-int4", adapterPath: ["./facts"] });
 * for (const { path, updates: [update] } of matrices) {
 *   console.log(path, update?.drift, update?.directions?.amplification);
 * }
 * ```
 */
export async function analyze(
  input: AnalyzeInput,
  { onEvent = () => {}, signal }: Watch<AnalyzeEvent> = {},
): Promise<Analysis> {
  const config = wholeConfig<AnalyzeConfig>(ANALYZE_PARAMETERS, input);
  if (config.adapterPath.length > 2) {
    throw new ParameterError(
      "adapterPath",
      (name) =>
        `${name("adapterPath")} must be one adapter, or two to compare: ` +
        `current number is ${config.adapterPath.length}`,
    );
  }
  const adapters = loadWeighted(config.adapterPath, undefined, onEvent);
  using base = loadOnnx(findModelFile(config.model), openMapped);
  const modules = findModules(base.model);
  const updates = adapters.map(({ adapter, label }) => {
    checkAdapter(adapter, label, onEvent);
    checkBase(adapter, base.model, label);
    return updatesOf(adapter, adapterSites(modules, adapter), label);
  });
  const chosen = chosenModules(modules, updates, config);
  const index = indexGraph(base.model.graph);
  const random = Random.fromSeed(config.seed);
  const matrices: MatrixAnalysis[] = [];
  for (const module of chosen) {
    // Lets a signal come through.
    await new Promise((resolve) => setTimeout(resolve));
    signal?.throwIfAborted();
    const { path, layer = null, outFeatures: rows, inFeatures: cols } = module;
    const values = Float32Array.from(toNumbers(weightValues(index, module)));
    const spectra = config.spectra && Math.min(rows, cols) <= MOST_SIDE;
    const figures = analyzeMatrix(
      { rows, cols, values },
      updates.map((of) => of.get(path)?.()),
      { spectra, random },
    );
    matrices.push({ path, layer, ...figures });
    onEvent({ kind: "matrix", path, done: matrices.length, total: chosen.length });
  }
  return {
    model: config.model,
    adapters: adapters.map(({ adapter, label }, i) => ({
      path: label,
      rank: adapter.config.rank,
      steps: driftOverSteps(adapterFolder(label), adapter.lora, matrices, i),
    })),
    matrices,
    layers: layerDrift(matrices, adapters.length),
  };
}

type Adapter = WeightedAdapter["adapter"];

/** @throws {BadInputError} for an adapter of scales, or of DoRA */
function checkAdapter(adapter: Adapter, label: string, onEvent: (event: AnalyzeEvent) => void) {
  if (adapter.config.adapterType === "scales") {
    throw new BadInputError(
      `${label}: it is an adapter of scales, whose change of the weights has no low rank`,
    );
  }
  if (adapter.config.useDora) {
    throw new BadInputError(
      `${label}: it is an adapter of DoRA, which scales the weights' rows: their change has no low rank`,
    );
  }
  const beside = methodsOf(adapter.config).filter((method) => !isLowRank(method));
  const left = [
    ...beside.map((method) => `its ${METHOD_NAMES[method]}`),
    ...adapter.config.bias === undefined ? [] : ["its trained biases"],
    ...adapter.head === undefined ? [] : ["its head"],
    ...adapter.saved.size === 0 ? [] : ["the modules that it trained in full"],
  ];
  if (left.length === 0) return;
  onEvent({ kind: "adapter note", text: `${label}: ${left.join(" and ")} are not analysed` });
}

/** Makes an adapter's update of a module: doubles of all modules would take twice the adapter's memory. */
type MakeUpdate = () => LowRankUpdate;

/** @throws {BadInputError} for matrices that are not of their module's size */
function updatesOf(
  { lora }: Adapter,
  sites: readonly LoraSite[],
  label: string,
): ReadonlyMap<string, MakeUpdate> {
  return new Map(sites.map(({ module: { path, inFeatures, outFeatures }, scale }) => {
    const { a, b } = lora.get(path)!;
    if (a.dims[1] !== inFeatures || b.dims[0] !== outFeatures) {
      throw new BadInputError(
        `${label}: module "${path}" has A [${a.dims}] and B [${b.dims}], which do not fit the ` +
          `base's [${outFeatures}, ${inFeatures}]`,
      );
    }
    return [path, () => ({ a: matrixOfTensor(a), b: matrixOfTensor(b), scale })];
  }));
}

/** @throws {ParameterError} if nothing is left to analyse */
function chosenModules(
  modules: readonly LinearModule[],
  updates: readonly ReadonlyMap<string, MakeUpdate>[],
  { layers, targetModules }: AnalyzeConfig,
): readonly LinearModule[] {
  const adapted = modules.filter(({ path }) => updates.some((of) => of.has(path)));
  if (adapted.length === 0) {
    throw new BadInputError("The adapters change no matrices of the base");
  }
  const wanted = layers === undefined ? undefined : new Set(parseLayers(layers));
  const inLayers = adapted.filter(({ layer }) =>
    wanted === undefined || (layer !== undefined && wanted.has(layer))
  );
  if (inLayers.length === 0) {
    throw new ParameterError(
      "layers",
      (name) => `${name("layers")} must be of adapted layers: current value is "${layers}"`,
    );
  }
  if (targetModules === undefined) return inLayers;
  const targets = new Set(
    resolveTargets(inLayers, { ...DEFAULT_LORA, targetModules }).map(({ module }) => module.path),
  );
  return inLayers.filter(({ path }) => targets.has(path));
}
