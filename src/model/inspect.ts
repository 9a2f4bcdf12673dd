/** What a model is made of, and what adapting it would take. */
import { BadInputError, GraftError } from "../errors.ts";
import { countOperators } from "../graph/count_operators.ts";
import type { DataType } from "../graph/dtype.ts";
import type { Dim, Model, Opsets } from "../graph/types.ts";
import { DEFAULT_LORA } from "../lora/config.ts";
import { findModules, type LinearModule } from "../lora/modules.ts";
import { reachOf } from "../lora/reach.ts";
import { resolveTargets, usualTargets } from "../lora/targets.ts";
import { countParameters } from "./count_parameters.ts";
import type { PredictedMemory } from "../plan/memory.ts";
import type { PassControl } from "../plan/planning_pass.ts";
import {
  describeTraining,
  type InspectedPlan,
  predictTraining,
  type TrainingToPredict,
} from "./predict_training.ts";

export type { InspectedPlan };

/** A graph input or output. */
export interface Port {
  /** Name of the value. */
  readonly name: string;
  /** Element type, where the graph states it. */
  readonly dtype?: DataType;
  /** Dimensions, where the graph states them. */
  readonly shape?: readonly Dim[];
}

/** Linear layers of one name. */
export interface TargetGroup {
  /** Last component of their paths, what `--target-modules` takes. */
  readonly name: string;
  /** Number of layers. */
  readonly count: number;
  /** Different [out, in] among them. */
  readonly shapes: readonly (readonly [number, number])[];
  /** Different bits of their weights. */
  readonly bits: readonly number[];
  /** Different ways in which they store them. */
  readonly kinds: readonly string[];
  /** One of the paths. */
  readonly example: string;
  /** Whether `all-linear` leaves them out. */
  readonly head: boolean;
}

/** What a model is made of. */
export interface Inspection {
  /** Opset by domain. */
  readonly opsets: Opsets;
  /** Values that are fed. */
  readonly inputs: readonly Port[];
  /** Values that are fetched. */
  readonly outputs: readonly Port[];
  /** Number of nodes by operator, the most frequent first. */
  readonly operators: Readonly<Record<string, number>>;
  /** Transformer layers. */
  readonly layers: number;
  /** Elements of all weights. */
  readonly parameters: number;
  /** Bytes of the model's files. */
  readonly sizeBytes: number;
  /** Linear layers that can be adapted, by name. */
  readonly targets: readonly TargetGroup[];
  /** Paths that more than one linear layer claims, which therefore cannot be adapted. */
  readonly ambiguous: readonly string[];
  /** What an adapter would train. */
  readonly lora: {
    readonly rank: number;
    readonly targetModules: readonly string[];
    readonly modules: number;
    readonly trainableParameters: number;
    readonly adaptedParameters: number;
  };
  /** Memory that training would take in bytes, or why it cannot be planned. */
  readonly training:
    & { readonly batch: number; readonly length: number }
    & (PredictedMemory | { readonly problem: string });
}

export interface InspectOptions {
  readonly sizeBytes: number;
  readonly rank: number;
  /** Targets of the adapter to count for; default `q,v`, or `all-linear` where the model has no such. */
  readonly targetModules?: readonly string[];
  /** Sequences per batch and tokens per sequence of the run to predict. */
  readonly batch: number;
  readonly length: number;
  /** Bytes of activations that the run may keep. */
  readonly keepBytes: number;
  /** Parts of a batch that a step computes beside each other. */
  readonly shards: number;
  /** Which passes of planning are left out. */
  readonly passControl?: PassControl;
}

/**
 * Inspects a model.
 *
 * @throws {UsageError} for targets the model does not have
 */
export function inspectModel(model: Model, options: InspectOptions): Inspection {
  const { graph, opsets } = model;
  const { sizeBytes, rank, batch, length } = options;
  const modules = findModules(model, { allowAmbiguous: true });
  const run = runToPredict(model, modules, options);
  const { sites, targetModules } = run;
  const trainable = sites.reduce(
    (sum, { module, rank }) => sum + rank * (module.inFeatures + module.outFeatures),
    0,
  );
  const layers = new Set(modules.flatMap((module) => module.layer ?? [])).size;
  return {
    opsets,
    inputs: graph.inputs.filter(({ name }) => !graph.initializers.has(name)).map(port),
    outputs: graph.outputs.map(port),
    operators: countOperators(graph),
    layers,
    parameters: countParameters(model, modules),
    sizeBytes,
    targets: groupTargets(modules),
    ambiguous: repeated(modules.map(({ path }) => path)),
    lora: {
      rank,
      targetModules,
      modules: sites.length,
      trainableParameters: trainable,
      adaptedParameters: sites.reduce(
        (sum, { module }) => sum + module.inFeatures * module.outFeatures,
        0,
      ),
    },
    training: {
      batch,
      length,
      ...predicted(model, run),
    },
  };
}

/**
 * The plan of a training step of the run whose memory an inspection predicts.
 *
 * @throws {UsageError} for targets the model does not have
 * @throws {BadInputError} where the model cannot be trained so
 */
export function inspectPlan(
  model: Model,
  options: InspectOptions,
): InspectedPlan {
  const run = runToPredict(model, findModules(model, { allowAmbiguous: true }), options);
  if (run.sites.length === 0) {
    throw new BadInputError("Cannot plan a training: there is no linear layer to adapt");
  }
  return describeTraining(model, run);
}

function runToPredict(
  model: Model,
  modules: readonly LinearModule[],
  { rank, targetModules = usualTargets(modules), ...run }: InspectOptions,
): TrainingToPredict & { readonly targetModules: readonly string[] } {
  const config = { ...DEFAULT_LORA, rank, targetModules };
  const sites = modules.length === 0 ? [] : resolveTargets(modules, config, reachOf(model));
  return { ...run, sites, targetModules, init: config.init };
}

/** The prediction, or why there is none. */
function predicted(
  model: Model,
  run: TrainingToPredict,
): PredictedMemory | { readonly problem: string } {
  if (run.sites.length === 0) return { problem: "there is no linear layer to adapt" };
  try {
    return predictTraining(model, run);
  } catch (error) {
    // An operator that is not supported, a length that the model does not have positions for.
    if (error instanceof GraftError) return { problem: error.message };
    throw error;
  }
}

const port = ({ name, type }: Model["graph"]["inputs"][number]): Port => ({
  name,
  ...(type === undefined ? {} : { dtype: type.dtype, shape: type.shape }),
});

function groupTargets(modules: readonly LinearModule[]): readonly TargetGroup[] {
  const groups = Map.groupBy(modules, ({ path }) => groupName(path));
  return [...groups].map(([name, all]) => {
    const shapes = new Map(
      all.map((
        { outFeatures, inFeatures },
      ) => [`${outFeatures}x${inFeatures}`, [outFeatures, inFeatures] as const]),
    );
    return {
      name,
      count: all.length,
      shapes: [...shapes.values()],
      bits: [...new Set(all.map(({ bits }) => bits))],
      kinds: [...new Set(all.map(({ kind }) => kind))],
      example: all[0].path,
      head: all.every(({ head }) => head),
    };
  });
}

/** The last component, or as many as tell BERT's layers named `dense` apart. */
function groupName(path: string): string {
  const parts = path.split(".");
  const generic = (at: number) => ["dense", "output"].includes(parts[parts.length - at]);
  let count = 1;
  while (count < parts.length && generic(count) && /^[a-z]/.test(parts[parts.length - count - 1])) {
    count++;
  }
  return parts.slice(-count).join(".");
}

function repeated(paths: readonly string[]): readonly string[] {
  return [...new Set(paths.filter((path, i) => paths.indexOf(path) !== i))];
}
