/**
 * Recurrent operators step by step.
 *
 * Inputs of all steps are projected in one product; each step adds the projection of the previous state. If
 * sequences have lengths of their own, a state stays as it is beyond a sequence's end, so that the reverse
 * direction begins with a sequence's last element, and outputs there are zero.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import { toNumbers } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { range } from "./axes.ts";
import { scalarLike, scalarOf, zeros } from "./broadcast.ts";
import { parts } from "./concat.ts";
import type { Activation } from "./recurrent_activations.ts";
import { affine, joined, LENGTHS } from "./recurrent_cotangents.ts";
import { sliceAxis } from "./slice.ts";

/** One direction of a recurrent operator. */
export interface Direction {
  readonly b: GraphBuilder;
  readonly node: Node;
  readonly hidden: number;
  /** R, [gates · hidden, hidden]. */
  readonly recurrence: string;
  /** The bias of the recurrence, [gates · hidden], if there are biases. */
  readonly bias?: string;
  /** LSTM's last input: peepholes, [3 · hidden]. */
  readonly peepholes?: string;
  /** Activations in the order in which the operator names them. */
  readonly activations: readonly ((x: string) => string)[];
}

/**
 * Emits one step.
 *
 * @param projected W·x + bias, [batch, gates · hidden]
 * @param states [batch, hidden] each
 * @returns the states after the step, the output first
 */
export type Step = (projected: string, states: readonly string[]) => readonly string[];

/** How an operator is unrolled. */
export interface Unrolling {
  /** Names of the activations of one direction. */
  readonly activations: readonly string[];
  /** Inputs that hold initial states. */
  readonly states: readonly number[];
  /** Input that holds peepholes. */
  readonly peepholes?: number;
  /** What is added to the projected inputs from both biases, [gates · hidden] each; default their sum. */
  readonly inputBias?: (b: GraphBuilder, node: Node, w: string, r: string) => string;
  readonly stepOf: (direction: Direction) => Step;
}

/** Each direction as separate values. */
export interface Runs {
  /** [length · batch, hidden], or [length, 1, batch, hidden]. */
  readonly outputs: string;
  /** States after the last step, [batch, hidden] or [1, batch, hidden]. */
  readonly last: readonly string[];
}

/** Entry `index` of the first axis, which is removed. */
function entry(b: GraphBuilder, value: string, index: number): string {
  const rest = b.dims(value).slice(1);
  return b.reshape(sliceAxis(b, value, 0, index, index + 1), rest);
}

/** For each step, which sequences last that long; `undefined` if all do. */
function goingOn(b: GraphBuilder, lengths: string, batch: number, steps: number) {
  const column = b.reshape(lengths, [batch, 1]);
  return range(steps).map((step) => {
    const longer = b.op("Greater", [column, scalarOf(b, b.known(lengths).dtype, step)]);
    const { value } = b.known(longer);
    return value !== undefined && Array.from(toNumbers(value)).every((flag) => flag !== 0)
      ? undefined
      : longer;
  });
}

/** The result of one direction: the output of each step, and its last states. */
interface Run {
  readonly outputs: readonly string[];
  readonly last: readonly string[];
}

/** What a direction starts with. */
interface Begin {
  /** The projected inputs of each step. */
  readonly projected: readonly string[];
  readonly initial: readonly string[];
  readonly isReverse: boolean;
  /** For each step, which sequences last that long. */
  readonly masks?: readonly (string | undefined)[];
}

function run(
  b: GraphBuilder,
  step: Step,
  { projected, initial, isReverse, masks }: Begin,
): Run {
  const outputs = new Array<string>(projected.length);
  const order = range(projected.length);
  let states = initial;
  for (const t of isReverse ? order.reverse() : order) {
    const next = step(projected[t], states);
    const mask = masks?.[t];
    if (mask === undefined) {
      outputs[t] = next[0];
      states = next;
    } else {
      outputs[t] = b.op("Where", [mask, next[0], scalarLike(b, next[0], 0)]);
      states = next.map((value, i) => b.op("Where", [mask, value, states[i]]));
    }
  }
  // A sequence without elements has no last state, not even its first one.
  const some = masks?.[0];
  if (some === undefined) return { outputs, last: states };
  return { outputs, last: states.map((s) => b.op("Where", [some, s, scalarLike(b, s, 0)])) };
}

/**
 * All directions, step by step.
 *
 * @param node a node with layout 0
 * @param activations those of all directions
 */
export function unrolled(
  b: GraphBuilder,
  node: Node,
  cell: Unrolling,
  directions: readonly string[],
  activations: readonly Activation[],
): readonly Runs[] {
  const given = (i: number) => node.inputs[i] === "" ? undefined : node.inputs[i];
  const [x] = node.inputs;
  const [length, batch, size] = b.dims(x);
  const hidden = b.dims(node.inputs[2])[2];
  const rows = b.reshape(x, [length * batch, size]);
  const lengths = given(LENGTHS);
  const masks = lengths === undefined ? undefined : goingOn(b, lengths, batch, length);
  return directions.map((name, d) => {
    const own = (i: number | undefined) => {
      const value = i === undefined ? undefined : given(i);
      return value === undefined ? undefined : entry(b, value, d);
    };
    const [w, r] = [own(1)!, own(2)!];
    const biases = own(3);
    const [wb, rb] = biases === undefined ? [] : parts(b, biases, 0, 2);
    const combined = cell.inputBias ?? ((b, _, w, r) => b.op("Add", [w, r]));
    const bias = wb === undefined ? undefined : combined(b, node, wb, rb);
    const projected = parts(b, affine(b, rows, w, bias), 0, length);
    const initial = cell.states.map((i) => {
      const value = given(i);
      if (value === undefined) return zeros(b, b.known(x).dtype, [batch, hidden]);
      return entry(b, value, d);
    });
    const each = cell.activations.length;
    const step = cell.stepOf({
      b,
      node,
      hidden,
      recurrence: r,
      bias: rb,
      peepholes: own(cell.peepholes),
      activations: activations.slice(d * each, (d + 1) * each).map((emit) => (value: string) =>
        emit(b, value)
      ),
    });
    const { outputs, last } = run(b, step, {
      projected,
      initial,
      isReverse: name === "reverse",
      masks,
    });
    return { outputs: joined(b, outputs, 0), last };
  });
}

/** Limits a value to [-threshold, threshold], as the attribute `clip` says; absent: the value itself. */
export function clipped(b: GraphBuilder, value: string, threshold: number | undefined): string {
  if (threshold === undefined) return value;
  return b.op("Clip", [
    value,
    scalarLike(b, value, -threshold),
    scalarLike(b, value, threshold),
  ]);
}
