/** Converts saved adapters to changes of a merge. */
import { float32, type Tensor, toNumbers } from "../../graph/tensor.ts";
import type { Model } from "../../graph/types.ts";
import { UsageError } from "../../errors.ts";
import type { Adapter } from "../adapter_files.ts";
import { adapterSites, moduleOf } from "../apply.ts";
import { injectBottlenecks } from "../bottleneck/inject.ts";
import { withRowFactors } from "../dora.ts";
import { addClassificationHead } from "../head.ts";
import { inject } from "../inject.ts";
import type { LoraWeights } from "../lora_weights.ts";
import { indexGraph } from "../graph_index.ts";
import { findModules, type LinearModule } from "../modules.ts";
import { makeTrainable } from "../modules_to_save.ts";
import type { AdapterType } from "../peft_config.ts";
import type { Method } from "../peft_type.ts";
import { injectScales, scaleGrid } from "../scale_adapter.ts";
import type { LoraSite } from "../targets.ts";
import { savedVectors, withVectors } from "../vectors/train.ts";
import { tokenEmbedding } from "../virtual_tokens/embedding.ts";
import { injectVirtualTokens, prefixLayersOf } from "../virtual_tokens/inject.ts";
import { prependVirtualTokens } from "../virtual_tokens/prepend.ts";
import type { LowRankUpdate, ModuleChange } from "./delta.ts";
import { withNewScales } from "./new_scales.ts";

/** One of the adapters of a merge. */
export interface WeightedAdapter {
  /** Its path, for messages. */
  readonly label: string;
  readonly adapter: Adapter;
  /** Factor of its update; 1 merges it as trained. */
  readonly weight: number;
}

/** The changes that adapters make to a model: of its matrices, and what is added to its graph. */
export interface AdapterChanges {
  readonly changes: readonly ModuleChange[];
  /** Replaces trained vectors. */
  readonly replaceVectors?: (model: Model) => Model;
  /** Adds the adapters' new head. */
  readonly addHead?: (model: Model) => Model;
  /** Adds the modules that cannot be folded into weights; the head follows them. */
  readonly addBeside?: (model: Model) => Model;
  /** Puts virtual tokens before every text, after all other additions. */
  readonly prepend?: (model: Model) => Model;
  /** Methods of those modules. */
  readonly beside?: readonly Method[];
}

/** The whole addition to a model with merged weights; `undefined` if there is none. */
export function additionOf(
  { replaceVectors, addHead, addBeside, prepend }: AdapterChanges,
): ((model: Model) => Model) | undefined {
  const steps = [replaceVectors, addBeside, addHead, prepend].filter((step) => step !== undefined);
  if (steps.length === 0) return undefined;
  return (model) => steps.reduce((now, step) => step(now), model);
}

/**
 * Sums adapters into one change per module.
 *
 * @throws {BadInputError} if one does not fit the model
 * @throws {UsageError} for weights that are not finite, and if a fully trained module or a head would
 *   have to be weighted or mixed: such tensors replace the base's, they are not added
 */
export function adapterChanges(
  model: Model,
  adapters: readonly WeightedAdapter[],
): AdapterChanges {
  const modules = findModules(model);
  const index = indexGraph(model.graph);
  const updates = new Map<string, Record<AdapterType, LowRankUpdate[]>>();
  const factors = new Map<string, Float64Array>();
  for (const { adapter, weight, label } of adapters) {
    if (!Number.isFinite(weight)) {
      throw new UsageError(`The weight of ${label} must be a number: current value is ${weight}`);
    }
    const sites = adapterSites(modules, adapter);
    const matrices = withRowFactors(index, sites, adapter.lora);
    for (const { module, rank, scale } of sites) {
      const { a, b, rowFactors } = matrices.get(module.path)!;
      if (rowFactors !== undefined) {
        // W + Σ weight·(g ∘ W + … − W)
        const sum = factors.get(module.path) ?? new Float64Array(module.outFeatures).fill(1);
        Array.from(toNumbers(rowFactors)).forEach((g, row) => sum[row] += weight * (g - 1));
        factors.set(module.path, sum);
      }
      const lists = updates.get(module.path) ?? { lora: [], scales: [] };
      updates.set(module.path, lists);
      lists[adapter.config.adapterType].push({
        rank,
        loraA: toNumbers(a),
        loraB: toNumbers(b),
        scale: scale * weight,
      });
    }
  }
  const replaced = replacements(adapters);
  const paths = new Set([...updates.keys(), ...replaced.keys()]);
  return {
    changes: [...paths].map((path) => {
      const { lora = [], scales = [] } = updates.get(path) ?? {};
      const rowFactors = factors.get(path);
      return {
        path,
        updates: lora,
        ...(rowFactors && { rowFactors }),
        ...(scales.length === 0 ? {} : { scaleUpdates: scales }),
        ...replaced.get(path),
      };
    }),
    ...vectorsOf(model, adapters),
    ...headOf(adapters),
    ...besideOf(model, modules, adapters),
  };
}

/** What an adapter has beside the weights; of each kind only one, since they cannot be added up. */
function besideOf(
  base: Model,
  modules: readonly LinearModule[],
  adapters: readonly WeightedAdapter[],
): Pick<AdapterChanges, "addBeside" | "prepend" | "beside"> {
  const beside: Method[] = [];
  const steps: ((model: Model) => Model)[] = [];
  let prepend: AdapterChanges["prepend"];
  for (const { adapter, weight, label } of adapters) {
    const { bottlenecks, promptEmbeddings, config: { bottleneck, virtualTokens } } = adapter;
    if (bottlenecks !== undefined && bottleneck !== undefined) {
      const twice = beside.some((method) => method === "houlsby" || method === "pfeiffer");
      refuseMixing("bottleneck adapters", label, weight, twice);
      const followed = [...bottlenecks.keys()].map((path) => moduleOf(modules, path));
      beside.push(bottleneck.placement);
      steps.push((model) => injectBottlenecks(model, followed, bottlenecks, bottleneck).model);
    }
    if (promptEmbeddings !== undefined && virtualTokens !== undefined) {
      refuseMixing("virtual tokens", label, weight, prepend !== undefined);
      const layers = prefixLayersOf(base, modules, virtualTokens);
      const ids = { first: tokenEmbedding(base).rows, count: virtualTokens.numVirtualTokens };
      // What the graph cannot take is refused before anything is measured.
      prependVirtualTokens(base, ids);
      prepend = (model) => prependVirtualTokens(model, ids);
      beside.push(virtualTokens.method);
      steps.push((model) =>
        injectVirtualTokens(model, virtualTokens, promptEmbeddings, layers).model
      );
    }
  }
  if (beside.length === 0) return {};
  const addBeside = (model: Model) => steps.reduce((now, step) => step(now), model);
  return { beside, addBeside, ...(prepend && { prepend }) };
}

function replacements(adapters: readonly WeightedAdapter[]) {
  const out = new Map<string, Pick<ModuleChange, "weight" | "bias">>();
  for (const { adapter: { saved }, weight, label } of adapters) {
    for (const [path, values] of saved) {
      refuseMixing(`a fully trained module "${path}"`, label, weight, out.has(path));
      out.set(path, {
        weight: Float32Array.from(toNumbers(values.weight)),
        ...(values.bias === undefined ? {} : { bias: Float32Array.from(toNumbers(values.bias)) }),
      });
    }
  }
  return out;
}

function vectorsOf(
  base: Model,
  adapters: readonly WeightedAdapter[],
): Pick<AdapterChanges, "replaceVectors"> {
  const all = new Map<string, Tensor>();
  for (const { adapter: { vectors = new Map() }, weight, label } of adapters) {
    for (const [name, vector] of vectors) {
      refuseMixing(`a trained "${name}"`, label, weight, all.has(name));
      all.set(name, vector);
    }
  }
  savedVectors(base, all);
  return all.size === 0 ? {} : { replaceVectors: (model) => withVectors(model, all).model };
}

function headOf(adapters: readonly WeightedAdapter[]): Pick<AdapterChanges, "addHead"> {
  let addHead: AdapterChanges["addHead"];
  for (const { adapter: { head, card }, weight, label } of adapters) {
    if (head === undefined) continue;
    refuseMixing("a classification head", label, weight, addHead !== undefined);
    addHead = (model) =>
      addClassificationHead(model, head, { pooling: card?.pooling ?? "mean" }).model;
  }
  return addHead === undefined ? {} : { addHead };
}

/**
 * The base with unmerged adapters, with which the merge is compared.
 *
 * Several adapters of one module become one with the sum of their ranks: Σ sᵢ·Bᵢ·Aᵢ is [s₁B₁ s₂B₂ …]
 * times the stacked Aᵢ.
 */
export function withAdapters(model: Model, adapters: AdapterChanges): Model {
  const { changes } = adapters;
  const { model: rescaled, left } = withNewScales(model, changes);
  const modules = new Map(findModules(rescaled).map((module) => [module.path, module]));
  const index = indexGraph(rescaled.graph);
  const { sites: scaled, weights: factors } = joined(
    modules,
    left,
    "scaleUpdates",
    (module) => scaleGrid(index, module).blocks,
  );
  let adapted = scaled.length === 0 ? rescaled : injectScales(rescaled, scaled, factors).model;
  const { sites, weights } = joined(modules, changes, "updates", (module) => module.inFeatures);
  adapted = inject(adapted, sites, weights).model;
  for (const { path, weight, bias } of changes) {
    if (weight === undefined) continue;
    const module = modules.get(path)!;
    adapted = makeTrainable(adapted, module, {
      weight: float32([module.outFeatures, module.inFeatures], weight),
      ...(bias === undefined ? {} : { bias: float32([module.outFeatures], bias) }),
    }).model;
  }
  return additionOf(adapters)?.(adapted) ?? adapted;
}

/** Joins the adapters of each module. */
function joined(
  modules: ReadonlyMap<string, LinearModule>,
  changes: readonly ModuleChange[],
  of: "updates" | "scaleUpdates",
  columnsOf: (module: LinearModule) => number,
) {
  const sites: LoraSite[] = [];
  const weights = new Map<string, LoraWeights>();
  for (const { path, [of]: updates = [], rowFactors } of changes) {
    const module = modules.get(path);
    if (module === undefined || updates.length === 0) continue;
    const rank = updates.reduce((sum, update) => sum + update.rank, 0);
    sites.push({ module, rank, alpha: rank, scale: 1, dropout: 0 });
    const factors = of === "updates" && rowFactors !== undefined
      ? { rowFactors: float32([module.outFeatures], rowFactors) }
      : {};
    const matrices = stacked(updates, rank, module.outFeatures, columnsOf(module));
    weights.set(path, { ...matrices, ...factors });
  }
  return { sites, weights };
}

function stacked(
  updates: readonly LowRankUpdate[],
  rank: number,
  rows: number,
  cols: number,
): LoraWeights {
  const a = new Float32Array(rank * cols);
  const b = new Float32Array(rows * rank);
  let first = 0;
  for (const update of updates) {
    a.set(Float32Array.from(update.loraA), first * cols);
    for (let n = 0; n < rows; n++) {
      for (let r = 0; r < update.rank; r++) {
        b[n * rank + first + r] = update.scale * update.loraB[n * update.rank + r];
      }
    }
    first += update.rank;
  }
  return { a: float32([rank, cols], a), b: float32([rows, rank], b) };
}

function refuseMixing(what: string, label: string, weight: number, twice: boolean): void {
  if (twice) {
    throw new UsageError(`Cannot merge ${label}: another adapter brings ${what} too`);
  }
  if (weight === 1) return;
  throw new UsageError(
    `Cannot merge ${label} with weight ${weight}: ${what} can only be taken as trained; use weight 1`,
  );
}
