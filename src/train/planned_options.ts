/** The options that a model's plans are made with, batch by batch. */
import { intsAttribute } from "../graph/attributes.ts";
import type { Graph, Model, Node } from "../graph/types.ts";
import { seesOtherPlaces } from "../ops/kinds.ts";
import { kindOf } from "../ops/registry.ts";
import { type Arithmetic, changed, withoutGradients } from "../plan/arithmetic.ts";
import type { PlanOptions, PlanSettings, StepKind } from "../plan/options.ts";
import type { Runner } from "../runtime/runner.ts";
import type { PackingRules } from "../data/packing.ts";
import type { Tensor } from "../graph/tensor.ts";
import { floatsOn } from "./choose_arithmetic.ts";
import type { Pipeline } from "./pipeline.ts";
import type { PlanFamilies } from "./plan_families.ts";
import type { Prepared } from "./step_inputs.ts";

/** What to train and how; `arithmetic` is that of gradients, by default in floats. */
export interface PlannedModelOptions extends PlanSettings {
  readonly runner: Runner;
  /** The user's model with adapters injected. */
  readonly model: Model;
  readonly objective: "causal" | "classification";
  /**
   * The teacher that a language model is distilled from, planned with `distils` for the same batches; the
   * caller owns it. Labels then only choose the rows, and the loss is still theirs.
   */
  readonly teacher?: { expectedRows(prepared: Prepared): Promise<Tensor> };
  /** Whether padding is left out of what treats tokens one by one; default true. */
  readonly packing?: boolean;
  /** Whether prefixes that several sequences of a language model share are computed once; default true. */
  readonly sharesPrefixes?: boolean;
  /**
   * Whether training may overwrite the initial values in `model`, so that they are not held twice; default
   * false.
   */
  readonly ownsInitialValues?: boolean;
  /**
   * Parts of a batch that a step computes at the same time, each on a thread of its own; default 1: the
   * runner's threads divide every operator instead. For a runner whose tensors are in place.
   */
  readonly shards?: number;
  /**
   * Whether a single sequence of a language model divides into as many spans if it is long enough; default
   * true. Some models' sequences cannot be divided: `IndivisibleError`.
   */
  readonly dividesSequences?: boolean;
  /** Plans made for the same model and settings so far; default none. Later ones are added. */
  readonly plans?: PlanFamilies;
  /** The processes that compute the other segments than those of `stage`, without shards. */
  readonly pipeline?: Pipeline;
}

/** The arithmetic of a model's gradients. */
export function arithmeticOfGradients(
  { arithmetic, runner }: Pick<PlannedModelOptions, "arithmetic" | "runner">,
): Arithmetic {
  return arithmetic ?? floatsOn(runner);
}

/**
 * Whether real tokens are independent of what padding holds: it comes after them, or attention leaves it out
 * and nothing else looks at neighbours.
 */
export function ignoresPadding(
  { model: { graph }, objective }: Pick<PlannedModelOptions, "model" | "objective">,
): boolean {
  if (objective === "causal") return true;
  return graph.inputs.some(({ name }) => name === "attention_mask") &&
    !graph.nodes.some((node) => seesNeighbours(graph, node));
}

/** Whether a node computes a position from others: from windows of them, as convolutions do, or from all. */
function seesNeighbours({ initializers }: Graph, node: Node): boolean {
  const kind = kindOf(node);
  if (kind !== "convolution" && kind !== "pooling") return seesOtherPlaces(node);
  const sizes = initializers.get(node.inputs[1])?.dims.slice(2);
  // The shape of a weight that is dequantised first is not known here.
  return intsAttribute(node, "kernel_shape", sizes)?.some((size) => size !== 1) ?? true;
}

/**
 * How a batch is packed. Padding is left out if that is asked for and the model tells it from tokens. A
 * language model computes a prefix of several sequences once, unless each has dropout of its own. That their
 * cotangents sum correctly has been verified on the CPU.
 */
export function packingRules(
  options: PlannedModelOptions,
  { dropout = 0 }: Pick<PlanUse, "dropout">,
): PackingRules {
  const { objective, runner, packing = true, sharesPrefixes = true } = options;
  const packs = packing && !leavesOutPacking(options) && ignoresPadding(options);
  const isCausal = objective === "causal";
  const shares = isCausal && dropout === 0 && runner.inPlace;
  return { packs, sharesPrefixes: sharesPrefixes && packs && shares, isCausal };
}

/** Whether the pass that leaves padding out is itself left out: each sequence is then computed whole. */
export function leavesOutPacking(
  { passControl }: Pick<PlannedModelOptions, "passControl">,
): boolean {
  return passControl?.without?.has("pack-tokens") ?? false;
}

/** How one plan differs from others of the model. */
export interface PlanUse {
  /** Absent: all. */
  readonly passes?: readonly StepKind[];
  /** Parts of a batch that share what may be kept; default 1. */
  readonly parts?: number;
  /** Default 0. */
  readonly dropout?: number;
  /** Default that of the model's losses without gradients. */
  readonly arithmetic?: Arithmetic;
}

/**
 * Number of parts up to which each makes for itself what it needs of the weights: two would wait for each
 * other as long as sharing would save them. Eight parts, of one sequence each, are a quarter quicker with
 * sharing.
 */
const FEW_PARTS = 2;

/**
 * Rows that a call computes at a time where tokens do not see each other: enough for products to run at full
 * speed, few enough for the memory of such calls to be less than attention's.
 */
const ROWS_AT_ONCE = 1024;

/** Bytes that each of several parts may keep of those that a batch may. */
export function keptByPart(keepBytes: number, parts: number): number {
  return Math.floor(keepBytes / parts);
}

/** What to plan for a batch, or a part of one. */
export function planOptionsFor(
  options: PlannedModelOptions,
  { batch, targets, packing, span }: Prepared,
  {
    passes,
    parts = 1,
    dropout = 0,
    arithmetic = withoutGradients(arithmeticOfGradients(options)),
  }: PlanUse = {},
): PlanOptions {
  const { trainable, keepBytes, headChunk, objective } = options;
  const [sequences, length] = batch.inputIds.dims;
  const sums = passes?.includes("training") ?? true;
  const alone = parts > 1 || options.runner.threads === 1;
  // Spans differ in their calls, and so would parts with unequal numbers of rows at a time.
  const sharesWeights = parts > FEW_PARTS && span === undefined;
  const dividesRows = options.runner.inPlace && options.stage === undefined && !sharesWeights;
  return {
    passes,
    batch: sequences,
    length,
    targetRows: objective === "causal" ? targets.rows : undefined,
    packedRows: packing?.rows,
    prefixSums: packing?.firstOf && (alone || !sums ? "together" : "by sequence"),
    commonTokens: packing?.common ?? 0,
    span,
    trainable,
    // Only gradients read what is kept.
    keepBytes: sums ? keepBytes && keptByPart(keepBytes, parts) : undefined,
    sharesWeights,
    // Several parts run as lists do, a single one on the threads of a pool.
    arithmetic: changed(arithmetic, { flushed: parts > 1 && options.runner.listsFlush }),
    inTiles: alone,
    rowsAtOnce: dividesRows ? options.rowsAtOnce ?? ROWS_AT_ONCE : undefined,
    thinStream: options.thinStream,
    dropout,
    headChunk,
    distils: options.distils,
    passControl: options.passControl,
    stage: options.stage,
  };
}
