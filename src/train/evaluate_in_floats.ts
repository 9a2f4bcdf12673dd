/**
 * Evaluates language models as training validates: through the forward pass of a planned step, whose products
 * run over real tokens alone, in floats. That is within what a graph in blocks asks of its runtime
 * (`accuracy_level` is the least accuracy), it is never slower than validation, and it is free of any
 * processor's rounding: SmolLM2's losses through the runtime's own kernels differ by 0.002 between AVX2 and
 * AVX-512.
 */
import { firstTargets } from "../data/slice_batch.ts";
import { targetsOf, type TokenBatch } from "../data/targets.ts";
import { GraftError } from "../errors.ts";
import { cutOf } from "../eval/choose_cut.ts";
import { evaluateEach, type EvaluationPeers } from "../eval/evaluate_each.ts";
import {
  evaluateModel,
  type EvaluationResult,
  type Evaluator,
  type KnownLosses,
} from "../eval/evaluate.ts";
import { allowsRounding, demandsRounding } from "../graph/rounded_activations.ts";
import { elementCount, toNumbers } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import type { DequantForm } from "../ops/dequant_form.ts";
import { kindOf } from "../ops/registry.ts";
import { packedFeatures } from "../ops/schema/packed_linear.ts";
import { hasFloat16 } from "../plan/full_precision.ts";
import type { PassControl } from "../plan/planning_pass.ts";
import type { Runner } from "../runtime/runner.ts";
import { relativeDistance, total } from "../statistics.ts";
import { giveBackFreed } from "../system/memory.ts";
import { floatsOn } from "./choose_arithmetic.ts";
import { DYNAMIC_TOLERANCE, FORWARD_TOLERANCE } from "./compare_forward.ts";
import { MicroBatches, TOKENS_AT_ONCE } from "./micro_batches.ts";
import { PlannedModel } from "./planned_model.ts";
import { packingRules } from "./planned_options.ts";
import type { StepModel } from "./step.ts";

/** Target rows whose logits are compared with the runtime's, unless the caller asks for more. */
const COMPARED_ROWS = 16;

/**
 * Multiplications below which planning does not pay: planning some shapes and compiling their sessions takes
 * about three seconds of a core, and saves a third of the time that 2,200 tokens of SmolLM2 take.
 */
const FEW_PRODUCTS = 3e11;

export interface FloatEvaluation {
  /** Multiplications up to which data goes through the runtime's kernels; default 3e11. */
  readonly fewProducts?: number;
  /** How to dequantise blocks; default what is usually quickest on the runner's release. */
  readonly dequantForm?: DequantForm;
  readonly passControl?: PassControl;
}

/**
 * An evaluator in floats. The runtime's own kernels evaluate classifiers, graphs that themselves round
 * activations or are in 16 bits, models on other execution providers, and what cannot be planned or does not
 * compute what the runtime does.
 */
export function evaluatorInFloats(
  runner: Runner,
  { fewProducts = FEW_PRODUCTS, dequantForm, passControl }: FloatEvaluation = {},
): Evaluator {
  /** Models that are compared with each other are computed alike: the first one decides. */
  let tooFew: boolean | undefined;
  return async (model, batches, options) => {
    if (options.objective !== "causal" || !mayRunInFloats(runner, model.graph)) {
      return await evaluateModel(runner, model, batches, options);
    }
    const rows = Math.max(COMPARED_ROWS, options.logitRows ?? 0);
    const fewTokens = fewProducts / productsPerToken(model.graph);
    const { first, few, all } = await startOf(batches, rows, fewTokens);
    tooFew ??= few;
    if (tooFew) return await evaluateModel(runner, model, all, options);
    const { logits, ...runtimes } = await evaluateModel(runner, model, first, {
      ...options,
      logitRows: rows,
    });
    giveBackFreed();
    const planned = {
      runner,
      model,
      trainable: new Set<string>(),
      objective: "causal",
      arithmetic: floatsOn(runner, dequantForm),
      passControl,
    } as const;
    using step = new PlannedModel(planned);
    const cut = cutOf(model.graph);
    const difference = await differenceFrom(step, first.flatMap(cut), logits);
    const tolerance = allowsRounding(model.graph) ? DYNAMIC_TOLERANCE : FORWARD_TOLERANCE;
    if (!await allAgree(difference <= tolerance, options.peers)) {
      return await evaluateModel(runner, model, all, options);
    }
    const atOnce = { tokens: TOKENS_AT_ONCE, packing: packingRules(planned, {}) };
    const { loss, count, partLosses } = options.known === undefined
      ? await lossOf(new MicroBatches(step, atOnce, 1, cut), all, options.peers)
      : meanOf(options.known);
    const classes = logits.length / runtimes.count;
    return {
      ...{ loss, perplexity: Math.exp(loss), count, partLosses, cut },
      logits: logits.subarray(0, (options.logitRows ?? 0) * classes),
      roundingDifference: allowsRounding(model.graph) ? difference : undefined,
    };
  };
}

function mayRunInFloats(runner: Runner, graph: Graph): boolean {
  return runner.inPlace && runner.providers.length === 0 && !demandsRounding(graph) &&
    !hasFloat16(graph);
}

/** Multiplications of activations with weights. */
function productsPerToken({ nodes, initializers }: Graph): number {
  const weights = nodes.map((node) => {
    const packed = packedFeatures(node);
    if (packed !== undefined) return packed.outFeatures * packed.inFeatures;
    const weight = kindOf(node) === "product" && initializers.get(node.inputs[1]);
    return weight ? elementCount(weight.dims) : 0;
  });
  return weights.reduce((sum, count) => sum + count, 1);
}

type Batches = AsyncIterable<TokenBatch> | Iterable<TokenBatch>;

/** The first targets, as batches of nothing else; whether there are few tokens; and all batches. */
async function startOf(batches: Batches, rows: number, fewTokens: number) {
  const iterator = Symbol.asyncIterator in batches
    ? batches[Symbol.asyncIterator]()
    : batches[Symbol.iterator]();
  const read: TokenBatch[] = [];
  const first: TokenBatch[] = [];
  let [left, tokens, few] = [rows, 0, false];
  while (left > 0 || tokens <= fewTokens) {
    const { value, done } = await iterator.next();
    if (done) {
      few = tokens <= fewTokens;
      break;
    }
    read.push(value);
    tokens += value.tokenCount;
    const part = firstTargets(value, left);
    left -= targetsOf(part).count;
    if (targetsOf(part).count > 0) first.push(part);
  }
  async function* all(): AsyncGenerator<TokenBatch> {
    yield* read;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
      yield next.value;
    }
  }
  return { first, few, all: all() };
}

/** How far the plan's logits are from the runtime's; infinite if it cannot be planned. */
async function differenceFrom(
  step: PlannedModel,
  batches: readonly TokenBatch[],
  runtimes: Float32Array,
): Promise<number> {
  const found = new Float32Array(runtimes.length);
  let at = 0;
  try {
    for (const batch of batches) {
      const logits = toNumbers(await step.logits(batch));
      found.set(logits, at);
      at += logits.length;
    }
  } catch (error) {
    if (error instanceof GraftError) return Infinity;
    throw error;
  }
  return relativeDistance(found, runtimes);
}

/** Processes that round differently must go on alike. */
async function allAgree(own: boolean, peers: EvaluationPeers | undefined): Promise<boolean> {
  if (peers === undefined) return own;
  const [opposed] = await peers.sum([own ? 0 : 1]);
  return opposed === 0;
}

function meanOf({ losses, targets }: KnownLosses) {
  const count = total(targets);
  return { loss: total(losses) / count, count, partLosses: losses };
}

async function lossOf(
  parts: StepModel<TokenBatch>,
  batches: AsyncIterable<TokenBatch>,
  peers: EvaluationPeers | undefined,
): Promise<Pick<EvaluationResult, "loss" | "count" | "partLosses">> {
  let count = 0;
  const partLosses: number[] = [];
  const evaluate = async (batch: TokenBatch) => {
    const { lossSum, targetCount } = await parts.evaluate(batch);
    return [lossSum, targetCount];
  };
  for await (const [lossSum, targetCount] of evaluateEach(batches, evaluate, { peers })) {
    partLosses.push(lossSum);
    count += targetCount;
  }
  return { loss: total(partLosses) / count, count, partLosses };
}
