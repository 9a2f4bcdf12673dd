/** Inspects a model on disk, given a path and settings, for programs and the command line. */
import { dirname } from "@std/path";
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import { type Model, operatorName } from "../graph/types.ts";
import { findModelFile } from "../model/find_model.ts";
import { readGenerationConfig } from "../model/generation_config.ts";
import {
  type InspectedPlan,
  type Inspection,
  inspectModel,
  type InspectOptions,
  inspectPlan as describeModelPlan,
} from "../model/inspect.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { findRule } from "../ops/registry.ts";
import { openMapped } from "../system/mapped_file.ts";
import { freeBytes } from "../system/memory.ts";
import { processor } from "../system/processor.ts";
import { keepBudget } from "../train/keep_budget.ts";
import { passControlHere } from "../train/left_out_passes.ts";

/** What is inspected, and the training run whose memory is predicted. */
export interface InspectConfig {
  /** Folder of an ONNX model, its `.onnx` file, the name of a pulled model, or `default`. */
  readonly model: string;
  /** Rank of the adapter to count parameters for, at least 1; default 8. */
  readonly rank: number;
  /** Modules of that adapter; default `q`, `v`, or `all-linear` if the model has no such modules. */
  readonly targetModules?: readonly string[];
  /** Rows per batch of the training run to predict, at least 1; default 4. */
  readonly batchSize: number;
  /**
   * Tokens per row of the training run to predict, at least 1; default 256, or as many as the model takes.
   */
  readonly maxSeqLength?: number;
}

/** Tokens per row if the configuration gives none and the model takes this many. */
export const INSPECTED_LENGTH = 256;

/** The parameters of an {@linkcode InspectConfig}. */
export const INSPECT_PARAMETERS = {
  model: { kind: "text", required: true },
  rank: { kind: "integer", default: 8, min: 1 },
  targetModules: { kind: "list" },
  batchSize: { kind: "integer", default: 4, min: 1 },
  maxSeqLength: { kind: "integer", min: 1 },
} as const satisfies ParametersOf<InspectConfig>;

/** An {@linkcode InspectConfig} as a program writes it: absent parameters take their defaults. */
export type InspectInput = Given<InspectConfig, "model">;

/** The result of {@linkcode inspect}. */
export interface InspectedModel extends Inspection {
  /** Operators that graft cannot train through. */
  readonly unsupported: readonly string[];
}

/**
 * Reports what a model is made of, what can be adapted in it, and the memory that training takes.
 *
 * @throws {ParameterError} for a setting that is unknown or out of range
 * @throws {UsageError} for targets that the model does not have
 * @throws {BadInputError} for a model that is missing or not what it should be
 *
 * @example
 * ```ts
 * import { inspect } from "./inspect.ts";
 *
 * const { layers, targets, training } = inspect({ model: "default", rank: 16 });
 * console.log(layers, targets.map(({ name, count }) => `${name} ${count}`));
 * if ("peakBytes" in training) console.log(training.peakBytes / 1e6, "MB");
 * ```
 */
export function inspect(input: InspectInput): InspectedModel {
  using opened = openToInspect(input);
  const found = inspectModel(opened.model, opened.options);
  return { ...found, unsupported: unsupportedOf(opened.model, Object.keys(found.operators)) };
}

/**
 * Describes the plan of a training step of the run whose memory {@linkcode inspect} predicts: the passes
 * that it goes through, its calls, what each reads and leaves, and what is kept for the backward pass.
 *
 * @throws {ParameterError} for a setting that is unknown or out of range
 * @throws {UsageError} for targets that the model does not have
 * @throws {BadInputError} for a model that is missing, is not what it should be, or cannot be trained
 *
 * @example
 * ```ts
 * import { inspectPlan } from "./inspect.ts";
 *
 * const { calls, savedBytes } = inspectPlan({ model: "default", batchSize: 2, maxSeqLength: 64 });
 * for (const { number, label } of calls) console.log(number, label);
 * console.log(savedBytes, "bytes are kept");
 * ```
 */
export function inspectPlan(input: InspectInput): InspectedPlan {
  using opened = openToInspect(input);
  return describeModelPlan(opened.model, opened.options);
}

function openToInspect(input: InspectInput) {
  const config = wholeConfig<InspectConfig>(INSPECT_PARAMETERS, input);
  const passControl = passControlHere();
  const file = findModelFile(config.model);
  const loaded = loadOnnx(file, openMapped);
  const { model, sizeBytes } = loaded;
  const { maxLength = Infinity } = readGenerationConfig(dirname(file));
  const length = config.maxSeqLength ?? Math.min(INSPECTED_LENGTH, maxLength);
  const options: InspectOptions = {
    sizeBytes,
    rank: config.rank,
    targetModules: config.targetModules,
    batch: config.batchSize,
    length,
    keepBytes: keepBudget(undefined, sizeBytes, freeBytes(), "exact", length),
    shards: processor().cores,
    passControl,
  };
  return { model, options, [Symbol.dispose]: () => loaded[Symbol.dispose]() };
}

/** Operators of a model, most frequent first, that no rule of `src/ops` covers. */
function unsupportedOf({ graph }: Model, operators: readonly string[]): readonly string[] {
  const missing = new Set(
    graph.nodes.filter((node) => findRule(node) === undefined).map(operatorName),
  );
  return operators.filter((name) => missing.has(name));
}
