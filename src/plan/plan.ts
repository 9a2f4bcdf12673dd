/**
 * Plans a training step: from a model with adapters to a list of session calls.
 *
 * A step is prologue → forward segments → loss → backward segments. Between segments only the activations at
 * their boundaries stay in memory; a backward call recomputes the inside of its segment, or takes from the
 * forward call what its derivatives read.
 *
 * Planning works on symbols for a batch's sizes: one plan serves all batches at which the planner would
 * decide the same.
 */
import { dimsIn, shapeIn } from "../graph/facts.ts";
import { constantValues } from "../graph/passes/constants.ts";
import { weightOf } from "../graph/parameter.ts";
import { productOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Graph, Model } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { UnsupportedError } from "../ops/types.ts";
import { UnlikeBlocksError } from "./alike_blocks.ts";
import { IN_FLOATS, numericOf } from "./arithmetic.ts";
import { bindPlan, type PlanOverSizes, type TrainingPlan } from "./bind_plan.ts";
import { fedConstants } from "./call.ts";
import { type Cut, cutIntoSegments } from "./cut.ts";
import { frozenPrefix } from "./frozen_prefix.ts";
import { type StepGraph, stepGraph } from "./graph_passes.ts";
import { HEAD_CHUNK, planChunkedHead } from "./head_chunks.ts";
import { type BoundInput, fixedShape } from "./inputs.ts";
import { ShapeError } from "./lower.ts";
import { type PlanOptions, type SizedOptions, STEP_KINDS, type StepKind } from "./options.ts";
import { planCalls } from "./step_calls.ts";
import { repeatSegments } from "./repeat_segments.ts";
import { rowWiseCalls } from "./rows_in_turn.ts";
import { scheduled } from "./schedule.ts";
import { type PlanContext, trainablesOf } from "./segment_calls.ts";
import { checkDivisible, IndivisibleError, isEarlier } from "./span.ts";
import { finishedCalls } from "./step_passes.ts";
import { readByStage, segmentLoads, sentNames, stageLinks } from "./stage.ts";
import { overSizes, type SizeName } from "./step_sizes.ts";
import type { PreprocessingCall } from "./weight_preprocessing.ts";

export type { TrainingPlan } from "./bind_plan.ts";
export type { PlanOptions } from "./options.ts";
export type { Schedule } from "./schedule.ts";

/**
 * A step's plan bound to one batch.
 *
 * @throws what {@linkcode planOverSizes} throws
 */
export function planTraining(model: Model, asked: PlanOptions): TrainingPlan {
  return bindPlan(planOverSizes(model, asked), asked)!;
}

/**
 * A step's plan for the batch of the given options, and for all others at which the planner decides the same.
 *
 * @param model the user's model with adapters injected as initializers
 * @param asked what to plan for; options that only left-out passes would use are ignored
 * @param numbers names of sizes that are numbers from the start
 * @throws {UnsupportedError} where a needed operator is not supported
 * @throws {ShapeError} where a node's operands do not fit each other at the batch's shape
 * @throws {BadInputError} where nothing trainable reaches the output
 * @throws {IndivisibleError} where `asked.span` is given and the model's sequences cannot be divided into
 *   spans
 */
export function planOverSizes(
  model: Model,
  asked: PlanOptions,
  numbers: Iterable<SizeName> = [],
): PlanOverSizes {
  const given = withoutLeftOut(asked);
  checkOutput(model.graph, given.output);
  const fixed = new Set<string>([...fixedSizes(model), ...numbers]);
  while (true) {
    const { sizes, options } = overSizes(given, fixed);
    let plan: Omit<PlanOverSizes, "sizes"> | undefined;
    let problem: unknown;
    try {
      plan = planWhole(model, options);
    } catch (error) {
      problem = error;
    }
    const settled = [...sizes.settledSymbols].filter((name) => !fixed.has(name));
    // Symbols that are numbers in one place become numbers everywhere, so that equal shapes look equal.
    for (const name of settled) fixed.add(name);
    if (settled.length > 0) continue;
    if (plan !== undefined) return { ...plan, sizes };
    // Rules throw it where operands do not fit: derivatives of an invalid graph.
    if (!(problem instanceof RangeError)) throw problem;
    throw new ShapeError(`Cannot plan the training of this graph: ${problem.message}`, {
      cause: problem,
    });
  }
}

function planWhole(model: Model, options: SizedOptions): Omit<PlanOverSizes, "sizes"> {
  while (true) {
    try {
      return planStep(stepGraph(model, options), options);
    } catch (error) {
      if (!(error instanceof UnlikeBlocksError)) throw error;
      error.folded.isRejected = true; // in the end the whole graph is planned
    }
  }
}

/** Sizes that a model fixes. */
function fixedSizes({ graph }: Model): Set<SizeName> {
  const { sequences, length } = fixedShape(graph);
  return new Set([
    ...sequences === undefined ? [] : ["batch" as const],
    ...length === undefined ? [] : ["length" as const],
  ]);
}

/** Drops options that only left-out passes would have used. */
function withoutLeftOut(options: PlanOptions): PlanOptions {
  if (!options.passControl?.without?.has("pack-tokens")) return options;
  if (options.span !== undefined) {
    throw new IndivisibleError("Sequences have no spans without the pass pack-tokens");
  }
  return { ...options, packedRows: undefined, prefixSums: undefined, commonTokens: undefined };
}

/** @throws {BadInputError} where a model lacks the output that the loss reads */
function checkOutput({ outputs }: Graph, output = "logits"): void {
  if (outputs.some(({ name }) => name === output)) return;
  throw new BadInputError(
    `Cannot train: the model has no output "${output}": its outputs are ${
      outputs.map(({ name }) => name).join(", ")
    }`,
  );
}

/** @throws {UnlikeBlocksError} where the blocks that the graph lacks are unlike those that it has */
function planStep(step: StepGraph, options: SizedOptions): Omit<PlanOverSizes, "sizes"> {
  const { output = "logits", headChunk = HEAD_CHUNK } = options;
  const { graph: lowered, padded, head: chunkable, folded } = step;
  const context = contextOf(step, options);
  const some = cutIntoSegments(lowered, context.constants, chunkable?.hidden);
  const found = {
    segments: some.segments,
    preprocessing: step.preprocessing,
    weights: weightsOf(step.unprocessed ?? lowered, context, step.preprocessing),
  };
  const whole = folded === undefined ? found : repeatSegments(found, context, folded);
  const { segments } = whole;
  const cut = { ...some, segments };
  checkDivisible(segments.at(-1)!.nodes);
  const first = firstTrained(context, cut, options.passes ?? STEP_KINDS, output);
  const rows = rowsOf(lowered, options);
  const head = chunkable && planChunkedHead(lowered, chunkable, rows, headChunk, options);
  if (options.distils && head === undefined) {
    throw new UnsupportedError("Distillation needs a head that runs in chunks");
  }
  const { stage } = options;
  const { calls, logitsParts, prologueCount, savedBytes, keepsSome, turn } = planCalls(
    { context, cut, first, rows, head, stage },
    options,
  );
  const links = stage && stageLinks(stage, segments, lowered, first, turn);
  // What a stage's frozen layers compute depends on other processes.
  const frozen = stage === undefined ? cut.segments.slice(0, first) : [];
  const prefix = frozenPrefix(frozen, prologueCount, padded, lowered, options, context.constants);
  const fed = [...whole.weights, ...(head?.constants ?? [])];
  // A block's own weights, even where all blocks have equal ones.
  const constants = new Map(fed.map(([name, value]) => [name, weightOf(value)]));
  const { training, evaluation, logits, preprocessing } = finishedCalls(
    { ...calls, preprocessing: [...whole.preprocessing, ...(head?.preprocessing ?? [])] },
    { options, constants, frozenCalls: prefix?.end ?? 0 },
  );
  const sent = links === undefined ? [] : sentNames(links);
  const { rowsAtOnce, batch, length, packedRows = times(batch, length) } = options;
  const rowWise = rowsAtOnce === undefined
    ? undefined
    : rowWiseCalls(training.slice(prefix?.end ?? 0), packedRows, rowsAtOnce);
  const all = { preprocessing, constants };
  return {
    training: scheduled(training, sent),
    evaluation: scheduled(evaluation, sent),
    logits: scheduled(logits, [...logitsParts, ...sent]),
    logitsParts,
    ...(links === undefined ? all : readByStage({ training, evaluation, logits }, all)),
    links,
    rowWise,
    frozen: prefix,
    inputs: inputsOf(lowered),
    rows,
    loads: segmentLoads(segments, lowered, context.constants),
    savedBytes,
    keepsSome,
    readsStored: step.readsStored ?? false,
  };
}

/** Rows of logits that enter the loss. */
function rowsOf(lowered: Graph, { targetRows }: SizedOptions): Extent {
  return targetRows ?? productOf(shapeIn(lowered, lowered.outputs[0].name).slice(0, -1));
}

function contextOf(
  { graph, preprocessed, computes }: StepGraph,
  options: SizedOptions,
): PlanContext {
  const { arithmetic = IN_FLOATS, trainable, targetRows, inTiles, keepBytes = 0 } = options;
  const isFast = numericOf(arithmetic) === "fast";
  return {
    lowered: graph,
    trainable,
    constants: constantValues(graph, [...preprocessed]),
    fed: fedConstants(graph, trainable),
    flushed: arithmetic.flushed,
    inTiles,
    float16Activations: arithmetic.kept === "whole" ? "none" : isFast ? "all" : "wide",
    recomputesAlone: keepBytes === 0,
    pickRows: targetRows !== undefined && computes === "all rows",
    passControl: options.passControl,
  };
}

/** Index of the first segment with something to train; without a training schedule there may be none. */
function firstTrained(
  context: PlanContext,
  { segments }: Cut,
  passes: readonly StepKind[],
  output: string,
): number {
  const first = segments.findIndex((segment) => trainablesOf(context, segment).length > 0);
  if (first >= 0) return first;
  if (!passes.includes("training")) return 0;
  throw new BadInputError(`Cannot train: nothing trainable reaches the output "${output}"`);
}

/** Tensors of the model that are fed to calls unchanged. */
function weightsOf(
  { initializers }: Graph,
  { fed, trainable }: PlanContext,
  preprocessing: readonly PreprocessingCall[],
): ReadonlyMap<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const name of [...fed, ...preprocessing.flatMap(({ feeds }) => [...feeds.values()])]) {
    const value = initializers.get(name);
    if (value !== undefined && !trainable.has(name)) found.set(name, value);
  }
  return found;
}

function inputsOf(graph: Graph): ReadonlyMap<string, BoundInput> {
  return new Map(
    graph.inputs.filter(({ name }) => !isEarlier(name)).map(({ name, type }) => [
      name,
      { dtype: type!.dtype, dims: dimsIn(graph, name) },
    ]),
  );
}
