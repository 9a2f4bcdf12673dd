/**
 * Plans a training step: from a model with adapters to a list of session calls.
 *
 * A step is prologue → forward segments → loss → backward segments. Between segments only their
 * boundary activations live on; a backward call recomputes the inside of its segment, or takes
 * from the forward call what its derivatives read.
 */
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { byteLength } from "../graph/dtype.ts";
import { dimsIn, typeIn } from "../graph/facts.ts";
import type { Graph, Model } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";
import type { DequantForm } from "../ops/dequantize.ts";
import type { IntegerForm } from "../ops/internal/integer_form.ts";
import { rewriteDynamicQuantization } from "../ops/quantized/pattern.ts";
import { BadInputError } from "../errors.ts";
import { type SegmentPlanner, segmentPlanner } from "./alike.ts";
import { builderOver, callOf, fedConstants, type PlannedCall } from "./call.ts";
import { type Cut, cutIntoSegments, type Segment } from "./cut.ts";
import { DROPOUT_SEED } from "./dropout.ts";
import { type FrozenPrefix, frozenPrefix } from "./frozen_prefix.ts";
import { type BatchShape, bindInputs, type BoundInput } from "./inputs.ts";
import { findChunkableHead, HEAD_CHUNK, planChunkedHead } from "./head_chunks.ts";
import { lowerForTraining } from "./lower.ts";
import { gradientName, LOGITS, LOSS, type Numeric } from "./names.ts";
import { type Backward, type PlanContext, trainablesOf } from "./segment_calls.ts";
import { constantValues } from "../graph/passes/constants.ts";
import { type Derivation, quantizeLinears } from "./quantize_linears.ts";
import { packTokens } from "./pack_tokens.ts";
import { selectTargetRows, TARGET_ROWS } from "./select_rows.ts";
import { graphSharing } from "./share_graphs.ts";
import { withSignedActivations } from "./signed_activations.ts";
import { placeTensors, type StepMemory } from "./step_memory.ts";
import { evaluationTailCall, tailCall } from "./tail.ts";

/** A way through a step's calls: to gradients, to the loss alone, or to logits. */
export type Pass = "training" | "evaluation" | "logits";

const ALL_PASSES: readonly Pass[] = ["training", "evaluation", "logits"];

/** What to plan for. */
export interface PlanOptions extends BatchShape {
  /** What is wanted; the schedules of other passes are empty. Default: all. */
  readonly passes?: readonly Pass[];
  /**
   * Target rows of a language-model loss, padding included; absent for classification, whose every
   * row of logits is one.
   */
  readonly targetRows?: number;
  /**
   * Rows that hold the batch's real tokens and at least one of its padding (`packTokens`); absent:
   * padding is computed like any token.
   */
  readonly packedRows?: number;
  /** Initializers to differentiate by. */
  readonly trainable: ReadonlySet<string>;
  /** The output that the loss reads; default `logits`. */
  readonly output?: string;
  /** Bytes of activations that may be kept instead of recomputed; default 0. */
  readonly keepBytes?: number;
  /** Whether activations are kept in float16 as far as the setting allows; default true. */
  readonly halves?: boolean;
  /** Vocabulary entries per chunk of a language model's head; default {@linkcode HEAD_CHUNK}. */
  readonly headChunk?: number;
  /** Probability of LoRA dropout; default 0. */
  readonly dropout?: number;
  /** Whether frozen products are computed in 8-bit integers; default `exact`: they are not. */
  readonly numeric?: Numeric;
  /** How 4- and 8-bit blocks are dequantised (`dequantFormFor` tells what a runtime has). */
  readonly dequantForm?: DequantForm;
  /** How activations are rounded in the setting `fast`; default `u8s8`. */
  readonly integerForm?: IntegerForm;
}

/** Calls in order, and when each intermediate tensor has been read for the last time. */
export interface Schedule {
  readonly calls: readonly PlannedCall[];
  /** For each call, the intermediates to free after it. */
  readonly release: readonly (readonly string[])[];
  /** Where the intermediates lie. */
  readonly memory: StepMemory;
}

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
  readonly derivations: readonly Derivation[];
  /** The calls below everything trained, where there are such. */
  readonly frozen?: FrozenPrefix;
  /** Batch inputs that the calls read. */
  readonly inputs: ReadonlyMap<string, BoundInput>;
  readonly rows: number;
  readonly segmentCount: number;
  /** Bytes that the backward calls read of the forward pass: what ran between segments, and more. */
  readonly savedBytes: number;
}

/**
 * @param model the user's model with adapters injected as initializers
 * @throws {UnsupportedError} where an operator on the way is not supported
 * @throws {BadInputError} where nothing trainable reaches the output
 */
export function planTraining(model: Model, options: PlanOptions): TrainingPlan {
  const output = options.output ?? "logits";
  const source = rewriteDynamicQuantization(model.graph);
  if (!source.outputs.some(({ name }) => name === output)) {
    throw new BadInputError(
      `Cannot train: the model has no output "${output}": its outputs are ${
        source.outputs.map(({ name }) => name).join(", ")
      }`,
    );
  }
  const causal = options.targetRows !== undefined;
  const selected = causal ? selectTargetRows(source, output) : undefined;
  const graph = selected === undefined ? source : verify(selected, "selectTargetRows()");
  const bound = bindInputs({ ...graph, inputs: graph.inputs.filter(notRows) }, options);
  if (selected !== undefined) {
    bound.set(TARGET_ROWS, { dtype: "int64", dims: [options.targetRows!] });
  }
  const padded = lowerForTraining({ ...model, graph }, bound, [output], {
    dropout: options.dropout,
    dequantForm: options.dequantForm,
    trainable: options.trainable,
  });
  const exact = options.packedRows === undefined
    ? padded
    : packTokens(padded, options, options.packedRows, options.trainable);
  const logitsShape = dimsIn(exact, exact.outputs[0].name);
  const rows = options.targetRows ?? elementCount(logitsShape.slice(0, -1));
  const chunk = options.headChunk ?? HEAD_CHUNK;
  const head = selected === undefined
    ? undefined
    : findChunkableHead(exact, constantValues(exact), options.trainable, chunk);
  const numeric = options.numeric ?? "exact";
  const { graph: lowered, derivations, derived } = numeric === "exact"
    ? { graph: exact, derivations: [], derived: new Set<string>() }
    : quantizeLinears(exact, options.trainable, new Set(head && [head.logits]));
  const constants = constantValues(lowered, [DROPOUT_SEED, ...derived]);
  const context: PlanContext = {
    lowered,
    trainable: options.trainable,
    constants,
    fed: fedConstants(lowered, options.trainable),
    halves: options.halves === false ? "none" : numeric === "fast" ? "all" : "wide",
    pickRows: causal && selected === undefined,
  };
  const cut = cutIntoSegments(lowered, constants, head?.hidden);
  const ending = head === undefined
    ? undefined
    : planChunkedHead(lowered, head, rows, chunk, numeric);
  const body = cut.segments.slice(0, -1);
  const tail = cut.segments[cut.segments.length - 1];
  const first = cut.segments.findIndex((segment) => trainablesOf(context, segment).length > 0);
  if (first < 0) {
    throw new BadInputError(`Cannot train: nothing trainable reaches the output "${output}"`);
  }

  const prologue = prologueCall(context, cut);
  const planner = segmentPlanner(context);
  const passes = options.passes ?? ALL_PASSES;
  const backward = passes.includes("training")
    ? planBackward(planner, body, first, options.keepBytes ?? 0)
    : new Map<number, Backward>();
  const forward = () => [...prologue, ...body.map((segment) => planner.forward(segment))];
  const evaluationTail = () => ending?.evaluation() ?? [evaluationTailCall(context, tail, rows)];
  const callsOf: Readonly<Record<Pass, () => readonly PlannedCall[]>> = {
    training: () => [
      ...prologue,
      ...body.map((segment, i) => planner.forward(segment, backward.get(i)?.kept)),
      ...(ending?.training() ?? [tailCall(context, tail, rows, first < body.length)]),
      ...[...backward.values()].reverse().map(({ call }) => call),
    ],
    evaluation: () => [...forward(), ...evaluationTail()],
    logits: () => [...forward(), ...(ending?.logits() ?? evaluationTail())],
  };
  const share = graphSharing();
  const calls = (pass: Pass) => {
    const planned = passes.includes(pass) ? callsOf[pass]() : [];
    return share(options.integerForm === "s8s8" ? withSignedActivations(planned) : planned);
  };
  const [training, evaluation, logits] = ALL_PASSES.map(calls);
  const logitsParts = ending?.logitsParts ?? [LOGITS];
  return {
    options,
    training: scheduled(training),
    evaluation: scheduled(evaluation),
    logits: scheduled(logits, logitsParts),
    logitsParts,
    constants: new Map([
      ...[...context.fed, ...derivations.flatMap((call) => [...call.feeds.values()])]
        .flatMap((name) => {
          const value = exact.initializers.get(name);
          return value === undefined || options.trainable.has(name) ? [] : [[name, value] as const];
        }),
      ...(ending?.constants ?? []),
    ]),
    derivations: share([...derivations, ...(ending?.derivations ?? [])]),
    frozen: frozenPrefix(
      body.slice(0, first),
      prologue.length,
      padded,
      lowered,
      options,
      constants,
    ),
    inputs: new Map(
      lowered.inputs.map(({ name, type }) => [
        name,
        { dtype: type!.dtype, dims: type!.shape as number[] },
      ]),
    ),
    rows,
    segmentCount: cut.segments.length,
    savedBytes: [...backward].reduce((sum, [i, { kept, keptBytes }]) => {
      const { input } = body[i];
      if (input === undefined) return sum + keptBytes;
      return sum + keptBytes + sizeOf(lowered, input) / (kept.has(input) ? 2 : 1);
    }, 0),
  };
}

const notRows = ({ name }: { readonly name: string }) => name !== TARGET_ROWS;

function sizeOf(lowered: Graph, value: string): number {
  const { dtype, dims } = typeIn(lowered, value)!;
  return byteLength(dtype, elementCount(dims));
}

function prologueCall(context: PlanContext, cut: Cut): PlannedCall[] {
  const computed = new Set(cut.prologue.flatMap((node) => node.outputs));
  const outputs = [...cut.shared].filter((name) => computed.has(name));
  if (outputs.length === 0) return [];
  const b = builderOver(context.lowered, cut.prologue, context.fed);
  return [callOf(b, "prologue", new Map(outputs.map((name) => [name, name])))];
}

/** Backward calls of the segments from the first trainable one on, by segment number. */
function planBackward(
  planner: SegmentPlanner,
  body: readonly Segment[],
  first: number,
  keepBytes: number,
) {
  const planned = new Map<number, Backward>();
  let budget = keepBytes;
  body.forEach((segment, i) => {
    if (i < first) return;
    const wantInput = i > first;
    const keeping = budget > 0 ? planner.backward(segment, { wantInput, keep: true }) : undefined;
    if (keeping !== undefined && keeping.keptBytes <= budget) {
      budget -= keeping.keptBytes;
      planned.set(i, keeping);
    } else {
      // Kept segments come first, so that those left are the ones whose turn to go back comes first.
      budget = 0;
      planned.set(i, planner.backward(segment, { wantInput, keep: false }));
    }
  });
  return planned;
}

/** Works out after which call each intermediate is dead. */
function scheduled(calls: readonly PlannedCall[], results: readonly string[] = []): Schedule {
  const lastUse = new Map<string, number>();
  calls.forEach((call, i) => {
    for (const name of call.fetches.values()) lastUse.set(name, i);
    for (const name of call.feeds.values()) if (lastUse.has(name)) lastUse.set(name, i);
  });
  const release: string[][] = calls.map(() => []);
  for (const [name, i] of lastUse) {
    if (!isResult(name) && !results.includes(name)) release[i].push(name);
  }
  return { calls, release, memory: placeTensors(calls, release) };
}

const RESULT = new Set([LOSS, LOGITS]);
const GRADIENT = gradientName("");

/** Whether a tensor outlives the step. */
function isResult(name: string): boolean {
  return RESULT.has(name) || name.startsWith(GRADIENT);
}
