/** A plan as data for people: the calls of a step, and what each reads, leaves and keeps. */
import { boundDims } from "../graph/bind_graph.ts";
import { countOperators } from "../graph/count_operators.ts";
import { byteLength } from "../graph/dtype.ts";
import type { ConcreteType } from "../graph/facts.ts";
import { elementCount } from "../graph/tensor.ts";
import { formatArithmetic, IN_FLOATS } from "./arithmetic.ts";
import type { PlannedCall } from "./call.ts";
import { gradientName } from "./names.ts";
import type { TrainingPlan } from "./plan.ts";
import { plannedRuns } from "./schedule.ts";
import { type ListedPass, PLANNING_PASSES } from "./planning_passes.ts";

/** The sizes that a step is planned for. */
export interface PlannedShape {
  /** Sequences. */
  readonly batch: number;
  /** Tokens per sequence, padding included. */
  readonly length: number;
  /** Rows of logits that enter the loss. */
  readonly rows: number;
  /** Rows that hold tokens, where padding is left out of operators that treat tokens one by one. */
  readonly packedRows?: number;
}

/** A planning pass. */
export interface DescribedPass extends ListedPass {
  /** Whether it was left out of the plan. */
  readonly isLeftOut: boolean;
}

/** A training step as it is planned. */
export interface PlanDescription {
  /** Sizes of the batch, or of a part of one. */
  readonly shape: PlannedShape;
  /** The arithmetic, in words. */
  readonly arithmetic: string;
  /** The planning passes that the plan went through, in order. */
  readonly passes: readonly DescribedPass[];
  /** Pieces that the graph was cut into, at values where one activation is live. */
  readonly segments: number;
  /** Different graphs among the calls, each compiled once. */
  readonly sessions: number;
  /** Bytes that forward calls leave for backward calls. */
  readonly savedBytes: number;
  /** Bytes of the slab that holds all tensors between calls. */
  readonly slabBytes: number;
  /** The calls that prepare weights before the first step. */
  readonly preprocessing: readonly DescribedCall[];
  /** The calls of a step, in order. */
  readonly calls: readonly DescribedCall[];
}

/** A call of a step. */
export interface DescribedCall {
  /** Counted from 1, within the step or before it. */
  readonly number: number;
  /** Names the call by the value that it ends or begins with. */
  readonly label: string;
  /** Equal for calls that share a session; counted from 1. */
  readonly session: number;
  /** Number of nodes by operator, most frequent first. */
  readonly operators: Readonly<Record<string, number>>;
  /** Tensors that it is fed. */
  readonly reads: readonly ReadTensor[];
  /** Tensors that it computes for other calls or as results. */
  readonly leaves: readonly LeftTensor[];
}

/** A tensor of a step. */
export interface DescribedTensor {
  /** Name in the step. */
  readonly name: string;
  /** For example `float32[2, 8]`. */
  readonly type: string;
  /** Size of its contents. */
  readonly bytes: number;
}

/** A tensor that a call is fed. */
export interface ReadTensor extends DescribedTensor {
  /**
   * Number of the call of the step that left it. Otherwise: a weight of the model, a tensor made from one
   * before the first step, a trained tensor, an input of the batch, or what a sum begins with: the sum over
   * the previous micro-batches, or zeros.
   */
  readonly from: number | "weight" | "preprocessed" | "trained" | "input" | "sum";
}

/** A tensor that a call leaves. */
export interface LeftTensor extends DescribedTensor {
  /** Numbers of the step's calls that read it; empty for a result of the step. */
  readonly readBy: readonly number[];
  /** Whether it is kept: a forward call leaves it and a backward call reads it. */
  readonly isKept: boolean;
}

/** Describes the training schedule of a plan. */
export function describePlan(plan: TrainingPlan): PlanDescription {
  const { options, training, preprocessing, rows, loads, savedBytes } = plan;
  const { arithmetic = IN_FLOATS, batch, length, packedRows, passControl } = options;
  const keys = new Map<string, number>();
  const made = new Set(preprocessing.flatMap(({ fetches }) => [...fetches.values()]));
  const step = plannedRuns(training).map(({ planned }) => planned);
  const leavers = numbersByName(step, ({ fetches }) => fetches);
  const readers = numbersByName(step, ({ feeds }) => feeds);
  const describe = (calls: readonly PlannedCall[]) =>
    calls.map((call, i) =>
      describedCall(call, i + 1, { plan, step, made, leavers, readers, keys })
    );
  const calls = describe(step);
  const sessions = keys.size;
  return {
    shape: {
      ...{ batch, length, rows },
      ...(packedRows === undefined ? {} : { packedRows }),
    },
    arithmetic: formatArithmetic(arithmetic),
    passes: PLANNING_PASSES.map((pass) => ({
      ...pass,
      isLeftOut: passControl?.without?.has(pass.name) ?? false,
    })),
    segments: loads.length,
    sessions,
    savedBytes,
    slabBytes: training.memory.bytes,
    preprocessing: describe(preprocessing),
    calls,
  };
}

interface Described {
  readonly plan: TrainingPlan;
  /** Its calls as planned, in order. */
  readonly step: readonly PlannedCall[];
  /** Tensors made before the first step. */
  readonly made: ReadonlySet<string>;
  /** Numbers of the step's calls that leave a tensor, and of those that read it, by its name; ascending. */
  readonly leavers: NumbersByName;
  readonly readers: NumbersByName;
  /** Numbers of sessions by the keys of calls. */
  readonly keys: Map<string, number>;
}

type NumbersByName = ReadonlyMap<string, readonly number[]>;

/** Numbers of calls by the names of their feeds or results. */
function numbersByName(
  calls: readonly PlannedCall[],
  namesOf: (call: PlannedCall) => ReadonlyMap<string, string>,
): NumbersByName {
  const found = new Map<string, number[]>();
  calls.forEach((call, i) => {
    for (const name of new Set(namesOf(call).values())) {
      found.set(name, [...found.get(name) ?? [], i + 1]);
    }
  });
  return found;
}

function describedCall(
  call: PlannedCall,
  number: number,
  { plan, step, made, leavers, readers, keys }: Described,
): DescribedCall {
  const { graph, feeds, fetches, label, key, sized } = call;
  if (!keys.has(key)) keys.set(key, keys.size + 1);
  const typeOf = new Map(
    [...graph.inputs, ...graph.outputs].map(({ name, type }) => [
      name,
      {
        dtype: type!.dtype,
        dims: boundDims(type!.shape as readonly number[], plan.training.sizes),
      },
    ]),
  );
  const fromOf = (name: string): ReadTensor["from"] => {
    // The sum of a gradient has the same name before and after.
    const before = leavers.get(name)?.findLast((leaver) => leaver < number);
    if (before !== undefined) return before;
    if (BEGINS.test(name)) return "sum";
    if (plan.options.trainable.has(name)) return "trained";
    if (made.has(name)) return "preprocessed";
    return plan.constants.has(name) ? "weight" : "input";
  };
  return {
    number,
    label,
    session: keys.get(key)!,
    operators: countOperators(graph),
    reads: [...feeds].filter(([canonical]) => !sized.has(canonical)).map(([canonical, name]) => ({
      ...described(name, typeOf.get(canonical)!),
      from: fromOf(name),
    })),
    leaves: [...fetches].map(([canonical, name]) => {
      const all = readers.get(name) ?? [];
      const readBy = made.has(name) ? all : all.filter((reader) => reader > number);
      return {
        ...described(name, typeOf.get(canonical)!),
        readBy,
        isKept: label.startsWith("forward ") && !label.endsWith(" again") &&
          readBy.some((reader) => step[reader - 1].label.startsWith("backward ")),
      };
    }),
  };
}

/** Sums of gradients, and the values that a head's first chunk begins with. */
const BEGINS = new RegExp(`^(?:${gradientName("")}|head\\.(?:max|sum|picked|total|own):0$)`);

function described(name: string, { dtype, dims }: ConcreteType): DescribedTensor {
  return {
    name,
    type: `${dtype}[${dims.join(", ")}]`,
    bytes: byteLength(dtype, elementCount(dims)),
  };
}
