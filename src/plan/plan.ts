/**
 * Plans a training step: from a model with adapters to a list of session calls.
 *
 * A step is prologue → forward segments → loss → backward segments. Between segments only their
 * boundary activations live on; a backward call recomputes the inside of its segment, or takes
 * from the forward call what its derivatives read.
 */
import type { Tensor } from "../graph/tensor.ts";
import type { Graph, Model } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { UnsupportedError } from "../ops/types.ts";
import { fedConstants, type PlannedCall } from "./call.ts";
import { type Cut, cutIntoSegments } from "./cut.ts";
import { type FrozenPrefix, frozenPrefix } from "./frozen_prefix.ts";
import type { BoundInput } from "./inputs.ts";
import { type ChunkableHead, findChunkableHead, wideProducts } from "./chunkable_head.ts";
import { HEAD_CHUNK, planChunkedHead } from "./head_chunks.ts";
import { ALL_PASSES, type Pass, type PlanOptions } from "./options.ts";
import { planPasses } from "./passes.ts";
import { type PlanContext, trainablesOf } from "./segment_calls.ts";
import { constantValues } from "../graph/passes/constants.ts";
import { ShapeError } from "./lower.ts";
import type { PreprocessedGraph, PreprocessingCall } from "./weight_preprocessing.ts";
import { type QuantizeLinears, quantizeLinears } from "./quantize_linears.ts";
import { keepSlopes } from "./keep_slopes.ts";
import { type Schedule, scheduled } from "./schedule.ts";
import { graphSharing } from "./share_graphs.ts";
import { withSharedWeights } from "./share_weights.ts";
import { repeatSegments } from "./repeat_segments.ts";
import { unwatched } from "../graph/watched.ts";
import { unpackWeights } from "./unpack_weights.ts";
import { withSignedActivations } from "./signed_activations.ts";
import { type StepGraph, stepGraph } from "./step_graph.ts";
import { checkDivisible, isEarlier } from "./span.ts";

export type { PlanOptions } from "./options.ts";
export type { Schedule } from "./schedule.ts";

/** A planned step for one batch shape. */
export interface TrainingPlan {
  readonly options: PlanOptions;
  readonly training: Schedule;
  readonly evaluation: Schedule;
  /** Forward only, keeping the logits of the target rows. */
  readonly logits: Schedule;
  /** Where {@linkcode logits} leaves them: pieces of the class axis, in order. */
  readonly logitsParts: readonly string[];
  /** Tensors to bind by name: weights as they lie in the file, starting values. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Calls that make more such tensors of them; once for all plans of a model. */
  readonly preprocessing: readonly PreprocessingCall[];
  /** The calls below everything trained, where there are such. */
  readonly frozen?: FrozenPrefix;
  /** Batch inputs that the calls read. */
  readonly inputs: ReadonlyMap<string, BoundInput>;
  readonly rows: number;
  readonly segmentCount: number;
  /** Bytes that the backward calls read of the forward pass: what ran between segments, and more. */
  readonly savedBytes: number;
  /** Whether the budget for kept activations ends before they do, so that fewer rows would keep more. */
  readonly keepsSome: boolean;
  /** Whether products in 8 bits read weights as the file holds them: `rotated` would change that. */
  readonly readsStored: boolean;
}

/**
 * @param model the user's model with adapters injected as initializers
 * @throws {UnsupportedError} where an operator on the way is not supported
 * @throws {ShapeError} where a node's operands do not fit each other at the batch's shape
 * @throws {BadInputError} where nothing trainable reaches the output
 * @throws {IndivisibleError} where `options.span` is given and the model's sequences have no spans
 */
export function planTraining(model: Model, options: PlanOptions): TrainingPlan {
  try {
    while (true) {
      const step = stepGraph(model, options);
      const plan = planStep(step, options);
      if (plan !== undefined) return plan;
      step.foldings!.reject(); // a whole graph has a plan
    }
  } catch (error) {
    // Rules throw it where operands do not fit: derivatives of a graph that is not what it seems.
    if (!(error instanceof RangeError)) throw error;
    throw new ShapeError(`Cannot plan the training of this graph: ${error.message}`, {
      cause: error,
    });
  }
}

/** @returns `undefined` where the blocks that the graph lacks are not those that it has */
function planStep(step: StepGraph, options: PlanOptions): TrainingPlan | undefined {
  const { trainable, output = "logits", headChunk = HEAD_CHUNK } = options;
  const { padded, packed, rows, foldings } = step;
  const folded = foldings?.current;
  const chunkable = chunkableHead(step, trainable, headChunk);
  const quantized = inNumeric(packed, options, chunkable, headChunk);
  const { graph: lowered } = quantized;
  const context = contextOf(quantized, step, options);
  const some = cutIntoSegments(lowered, context.constants, chunkable?.hidden);
  const found = {
    segments: some.segments,
    preprocessing: quantized.preprocessing,
    weights: weightsOf(packed, context, quantized.preprocessing),
  };
  const whole = folded === undefined ? found : repeatSegments(found, context, folded);
  if (whole === undefined) return undefined;
  const { segments, preprocessing } = whole;
  const cut = { ...some, segments };
  checkDivisible(segments.at(-1)!.nodes);
  const first = firstTrained(context, cut, options.passes ?? ALL_PASSES, output);
  const head = chunkable && planChunkedHead(lowered, chunkable, rows, headChunk, options);
  if (options.distils && head === undefined) {
    throw new UnsupportedError("Distillation needs a head that runs in chunks");
  }
  const { calls, logitsParts, prologueCount, savedBytes, keepsSome } = planPasses(
    { context, cut, first, rows, head },
    options,
  );
  if (folded?.isSound === false) return undefined;
  const share = graphSharing();
  const finished = (planned: readonly PlannedCall[]) =>
    share(options.integerForm === "s8s8" ? withSignedActivations(planned) : planned);
  const frozen = cut.segments.slice(0, first);
  const prefix = frozenPrefix(frozen, prologueCount, padded, lowered, options, context.constants);
  const constants = new Map([
    ...[...whole.weights].map(([name, value]) => [name, unwatched(value)] as const),
    ...(head?.constants ?? []),
  ]);
  const prepared = share([...preprocessing, ...(head?.preprocessing ?? [])]);
  const training = finished(calls.training);
  return {
    options,
    training: scheduled(
      options.sharesWeights
        ? sharingAfter(prefix?.end ?? 0, training, namesOf(constants, prepared))
        : training,
    ),
    evaluation: scheduled(finished(calls.evaluation)),
    logits: scheduled(finished(calls.logits), logitsParts),
    logitsParts,
    constants,
    preprocessing: prepared,
    frozen: prefix,
    inputs: inputsOf(lowered),
    rows,
    segmentCount: cut.segments.length,
    savedBytes,
    keepsSome,
    readsStored: quantized.readsStored ?? false,
  };
}

/** Names of the tensors that no step changes. */
function namesOf(
  constants: ReadonlyMap<string, Tensor>,
  preprocessing: readonly PreprocessingCall[],
): ReadonlySet<string> {
  return new Set([
    ...constants.keys(),
    ...preprocessing.flatMap(({ fetches }) => [...fetches.values()]),
  ]);
}

/** Calls with what they make of weights apart, but for those before `start`, which are known by number. */
function sharingAfter(
  start: number,
  calls: readonly PlannedCall[],
  frozen: ReadonlySet<string>,
): readonly PlannedCall[] {
  return [...calls.slice(0, start), ...withSharedWeights(calls.slice(start), frozen)];
}

/** A head that can run in chunks: it reads the hidden state of target rows alone. */
function chunkableHead(
  { packed, computes }: StepGraph,
  trainable: ReadonlySet<string>,
  chunk: number,
): ChunkableHead | undefined {
  if (computes === "all rows") return undefined;
  return findChunkableHead(packed, constantValues(packed), trainable, chunk);
}

/**
 * The graph as the numeric setting computes it; a head in chunks prepares its weight by itself, and a
 * wide one that is in none stays in floats: rounded as any layer, it loses the gradient of a softmax.
 */
function inNumeric(
  graph: Graph,
  { numeric = "exact", integerForm, rotated, sliced, readyWeights, trainable }: PlanOptions,
  head: ChunkableHead | undefined,
  headChunk: number,
): PreprocessedGraph {
  const inIntegers = (how: Pick<QuantizeLinears, "rotated" | "bothWays" | "slices">) =>
    quantizeLinears(graph, trainable, {
      except: head ? new Set([head.product]) : wideProducts(graph, headChunk),
      form: integerForm,
      ...how,
    });
  if (numeric === "fast") {
    const quantized = inIntegers({ rotated, bothWays: readyWeights });
    return { ...quantized, graph: keepSlopes(quantized.graph, quantized.preprocessed) };
  }
  if (sliced) {
    const quantized = inIntegers({ slices: 2 });
    if (quantized.readsStored) return quantized;
  }
  return readyWeights === true
    ? unpackWeights(graph, trainable, new Set(head?.preparing))
    : { graph, preprocessing: [], preprocessed: new Set() };
}

function contextOf(
  { graph, preprocessed }: PreprocessedGraph,
  { computes }: StepGraph,
  { trainable, targetRows, float16Activations, numeric, flushed, inTiles, keepBytes = 0 }:
    PlanOptions,
): PlanContext {
  return {
    lowered: graph,
    trainable,
    constants: constantValues(graph, [...preprocessed]),
    fed: fedConstants(graph, trainable),
    flushed,
    inTiles,
    float16Activations: float16Activations === false ? "none" : numeric === "fast" ? "all" : "wide",
    recomputesAlone: keepBytes === 0,
    pickRows: targetRows !== undefined && computes === "all rows",
  };
}

/** Number of the first segment with something to train; without a training pass there may be none. */
function firstTrained(
  context: PlanContext,
  { segments }: Cut,
  passes: readonly Pass[],
  output: string,
): number {
  const first = segments.findIndex((segment) => trainablesOf(context, segment).length > 0);
  if (first >= 0) return first;
  if (!passes.includes("training")) return 0;
  throw new BadInputError(`Cannot train: nothing trainable reaches the output "${output}"`);
}

/** Tensors of the model that are fed to calls and stay as they are. */
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

function inputsOf({ inputs }: Graph): ReadonlyMap<string, BoundInput> {
  return new Map(
    inputs.filter(({ name }) => !isEarlier(name)).map(({ name, type }) => [
      name,
      { dtype: type!.dtype, dims: type!.shape as number[] },
    ]),
  );
}
