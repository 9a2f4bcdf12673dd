/** The calls of a step: prologue, forward segments, loss, backward segments. */
import { typeIn } from "../graph/facts.ts";
import { isAtMost, plus } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Graph } from "../graph/types.ts";
import { renamed, type SegmentPlanner, segmentPlanner } from "./alike.ts";
import { builderOver, callOf, type PlannedCall } from "./call.ts";
import { type Cut, originalOf, type Segment, type SegmentRange } from "./cut.ts";
import type { ChunkedHead } from "./head_chunks.ts";
import { storedBytes } from "./kept_form.ts";
import { isProductOfActivations } from "./kept_values.ts";
import { againName, LOGITS } from "./names.ts";
import { KeepBudget } from "./keep_budget.ts";
import { type BatchSizes, type SizedOptions, STEP_KINDS, type StepKind } from "./options.ts";
import type { Backward, PlanContext } from "./segment_calls.ts";
import { evaluationTailCall, tailCall } from "./tail.ts";

/** A step's graph in pieces. */
export interface StepPieces {
  readonly context: PlanContext;
  readonly cut: Cut;
  /** Index of the first segment with something to train. */
  readonly first: number;
  /** Rows of logits that enter the loss. */
  readonly rows: Extent;
  /** Replaces the last segment where the head runs in chunks. */
  readonly head?: ChunkedHead;
  /** The segments that are computed here; default all. */
  readonly stage?: SegmentRange;
}

/** Calls by kind of step, in order; none for a kind that is not wanted. */
export interface PlannedCalls {
  readonly calls: Readonly<Record<StepKind, readonly PlannedCall[]>>;
  /** Where the logits are left: pieces along the class axis, in order. */
  readonly logitsParts: readonly string[];
  /** Number of calls before those of the first segment. */
  readonly prologueCount: number;
  /** Bytes that the backward calls read from the forward pass. */
  readonly savedBytes: Extent;
  /** Whether the budget for kept activations is exhausted. */
  readonly keepsSome: boolean;
  /** Number of the calls for gradients before those of the backward pass. */
  readonly turn: number;
}

/** Sequence length in tokens above which saving memory is worth computing an eighth of a step twice. */
export const LONG_TOKENS = 2048;

export function planCalls(
  { context, cut, first, rows, head, stage }: StepPieces,
  options: Pick<SizedOptions, "passes" | "keepBytes" | "thinStream"> & BatchSizes<Extent>,
): PlannedCalls {
  const { length, passes = STEP_KINDS, keepBytes = 0 } = options;
  const { thinStream = !isAtMost(length, LONG_TOKENS) } = options;
  const { segments } = cut;
  const { from, to } = stage ?? { from: 0, to: segments.length };
  const last = segments.length - 1;
  const body = segments.slice(from, Math.min(to, last));
  const tail = segments[last];
  const hasTail = to > last;
  const prologue = prologueCall(context, cut, segments.slice(from, to));
  const planner = segmentPlanner(context);
  const { calls: backward, keepsSome } = passes.includes("training")
    ? planBackward(planner, body, first - from, {
      budget: new KeepBudget(keepBytes, options),
      isCheap: (segment) => thinStream && !hasProductOfActivations(context, segment),
    })
    : { calls: new Map<number, PlannedBackward>(), keepsSome: false };
  const forward = () => [...prologue, ...body.map((segment) => planner.forward(segment))];
  const evaluationTail = () =>
    hasTail ? head?.evaluation() ?? [evaluationTailCall(context, tail, rows)] : [];
  const trainingTail = () =>
    hasTail ? head?.training() ?? [tailCall(context, tail, rows, first < last)] : [];
  const logitsTail = () => (hasTail ? head?.logits() : undefined) ?? evaluationTail();
  const backwardCalls = [...backward.values()].reverse().flatMap(({ again = [], call }) => [
    ...again,
    call,
  ]);
  const callsOf: Readonly<Record<StepKind, () => readonly PlannedCall[]>> = {
    training: () => [
      ...prologue,
      ...body.map((segment, i) => planner.forward(segment, backward.get(i)?.kept)),
      ...trainingTail(),
      ...backwardCalls,
    ],
    evaluation: () => [...forward(), ...evaluationTail()],
    logits: () => [...forward(), ...logitsTail()],
  };
  const wanted = (kind: StepKind) => passes.includes(kind) ? callsOf[kind]() : [];
  const training = wanted("training");
  return {
    calls: {
      training,
      evaluation: wanted("evaluation"),
      logits: wanted("logits"),
    },
    logitsParts: hasTail ? head?.logitsParts ?? [LOGITS] : [],
    prologueCount: prologue.length,
    savedBytes: savedBytes(context.lowered, body, backward),
    keepsSome,
    turn: training.length - backwardCalls.length,
  };
}

/** @param readers the segments that are computed here */
function prologueCall(
  context: PlanContext,
  cut: Cut,
  readers: readonly Segment[],
): PlannedCall[] {
  const computed = new Set(cut.prologue.flatMap((node) => node.outputs));
  const read = new Set(readers.flatMap(({ nodes }) => nodes.flatMap(({ inputs }) => inputs)));
  const outputs = [...cut.shared].filter((name) => computed.has(name) && read.has(name));
  if (outputs.length === 0) return [];
  const b = builderOver(context, cut.prologue);
  const { passControl } = context;
  return [callOf(b, "prologue", new Map(outputs.map((name) => [name, name])), { passControl })];
}

interface PlannedBackward extends Backward {
  /** Calls that recompute the segment's input, which then need not stay in memory. */
  readonly again?: readonly PlannedCall[];
}

/**
 * Backward calls of the segments from the first trainable one on, by segment number.
 *
 * @param isCheap whether a segment's output may be recomputed for the next segment
 */
function planBackward(
  planner: SegmentPlanner,
  body: readonly Segment[],
  first: number,
  { budget, isCheap }: {
    readonly budget: KeepBudget;
    readonly isCheap: (segment: Segment) => boolean;
  },
): { readonly calls: ReadonlyMap<number, PlannedBackward>; readonly keepsSome: boolean } {
  const planned = new Map<number, PlannedBackward>();
  /** Segments that keep nothing but their input. */
  const bare = new Set<number>();
  body.forEach((segment, i) => {
    if (i < first) return;
    const wantInput = i > first;
    const keeping = budget.isSpent
      ? undefined
      : planner.backward(segment, { wantInput, keep: true });
    if (keeping !== undefined && budget.take(keeping.keptBytes)) planned.set(i, keeping);
    else {
      // Earlier segments are kept, so that the others are those whose backward calls come first. The input is
      // recomputed from that of the segment before, which must be in memory.
      const isAgain = bare.has(i - 1) && isCheap(body[i - 1]);
      if (isAgain) {
        planned.set(i, backwardAgain(planner, body[i - 1], segment, planned.get(i - 1)!));
      } else {
        bare.add(i);
        planned.set(i, planner.backward(segment, { wantInput, keep: false }));
      }
    }
  });
  return { calls: planned, keepsSome: budget.keepsSome };
}

/** The backward call of a segment whose input is recomputed from that of the segment before. */
function backwardAgain(
  planner: SegmentPlanner,
  before: Segment,
  segment: Segment,
  { kept }: Backward,
): PlannedBackward {
  const input = segment.input!;
  const rename = (name: string) => name === input ? againName(name) : name;
  const from = before.input === undefined ? "unchanged" : kept.get(before.input);
  const forward = planner.forward(before, new Map(), from);
  const backward = planner.backward(segment, { wantInput: true, keep: false, again: true });
  return {
    ...backward,
    call: renamed(backward.call, rename, backward.call.label),
    again: [renamed(forward, rename, `${forward.label} again`)],
  };
}

/** Whether a segment has attention, which is expensive to recompute and leaves keys for other spans. */
function hasProductOfActivations(context: PlanContext, { nodes }: Segment): boolean {
  return nodes.some((node) => isProductOfActivations(context, node));
}

/** Bytes of the segments' inputs and of all other kept values, in the forms in which they are kept. */
function savedBytes(
  lowered: Graph,
  body: readonly Segment[],
  backward: ReadonlyMap<number, PlannedBackward>,
): Extent {
  let sum: Extent = 0;
  for (const [i, { kept, keptBytes, earlierBytes, again }] of backward) {
    const { input } = body[i];
    sum = plus(sum, plus(keptBytes, earlierBytes));
    if (input === undefined || again !== undefined) continue;
    const type = typeIn(lowered, originalOf(body[i]).input!)!;
    sum = plus(sum, storedBytes(input, kept.get(input) ?? "unchanged", type));
  }
  return sum;
}
