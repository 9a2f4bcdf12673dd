/**
 * What LSTM, GRU and RNN have in common.
 *
 * A plain node, of one direction and without what its cell can have beside weights, biases and first
 * states, stays one, and has cotangents of its own (`recurrent_cotangents.ts`): a graph of few nodes.
 * Every other one is unrolled over the sequence.
 *
 * Inputs of all steps are projected in one product; each step adds that of the state before it. Where
 * sequences have lengths of their own, a state stays as it is beyond a sequence's end, so that the
 * reverse direction begins with a sequence's last element, and outputs there are zero.
 *
 * Source: ONNX's LSTM-22, GRU-22 and RNN-22; what they leave open is as ONNX Runtime has it.
 */
import {
  floatsAttribute,
  int,
  intAttribute,
  ints,
  string,
  stringAttribute,
  stringsAttribute,
} from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { toNumbers } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { knownInputs, label, required, unsupported } from "./args.ts";
import { range } from "./axes.ts";
import { scalarLike, scalarOf, zeros } from "./broadcast.ts";
import { parts } from "./concat.ts";
import { type Activation, activationsOf } from "./recurrent_activations.ts";
import { sliceAxis } from "./slice.ts";
import { affine, type Cotangents, joined } from "./recurrent_cotangents.ts";
import type { OpRule } from "./types.ts";

type Inputs = readonly (Known | undefined)[];

/** One direction of a recurrent operator. */
export interface Direction {
  readonly b: GraphBuilder;
  readonly node: Node;
  readonly hidden: number;
  /** R, [gates · hidden, hidden]. */
  readonly recurrence: string;
  /** The bias of the recurrence, [gates · hidden], where there are biases. */
  readonly bias?: string;
  /** The last of the inputs, of LSTM: peepholes, [3 · hidden]. */
  readonly peepholes?: string;
  /** In the order in which the operator names them. */
  readonly activations: readonly ((x: string) => string)[];
}

/**
 * Emits one step.
 *
 * @param projected W·x + bias, [batch, gates · hidden]
 * @param states [batch, hidden] each
 * @returns the states after it, the output first
 */
export type Step = (projected: string, states: readonly string[]) => readonly string[];

/** What one recurrent operator has of its own. */
export interface Cell {
  readonly opType: string;
  readonly gates: number;
  /** Of one direction. */
  readonly activations: readonly string[];
  /** Inputs of initial states. */
  readonly states: readonly number[];
  /** Input of peepholes. */
  readonly peepholes?: number;
  /** What is added to the projected inputs of both biases, [gates · hidden] each; default their sum. */
  readonly inputBias?: (b: GraphBuilder, node: Node, w: string, r: string) => string;
  readonly stepOf: (direction: Direction) => Step;
  /** Attributes, beside a direction and sizes, that a plain node may have. */
  readonly plainAttributes?: readonly string[];
  /** Of a plain node. */
  readonly cotangents: Cotangents;
}

/** Sizes of a node, its weights compared with them. */
function sizesOf(node: Node, inputs: Inputs, { gates, states, peepholes }: Cell) {
  const [x, w, r] = [0, 1, 2].map((i) => required(node, inputs, i).dims);
  const direction = stringAttribute(node, "direction", "forward");
  const directions = direction === "bidirectional" ? ["forward", "reverse"] : [direction];
  if (directions.some((name) => name !== "forward" && name !== "reverse")) {
    throw unsupported(node, `attribute "direction" is "${direction}"`);
  }
  const batchFirst = intAttribute(node, "layout", 0) === 1;
  const [length, batch] = batchFirst ? [x[1], x[0]] : x;
  const hidden = intAttribute(node, "hidden_size", r.at(-1)!);
  const count = directions.length;
  const state = batchFirst ? [batch, count, hidden] : [count, batch, hidden];
  const expected: (readonly [number, readonly number[]])[] = [
    [0, [...x.slice(0, 2), w.at(-1)!]],
    [1, [count, gates * hidden, x[2]]],
    [2, [count, gates * hidden, hidden]],
    [3, [count, 2 * gates * hidden]],
    [4, [batch]],
    ...states.map((input) => [input, state] as const),
    ...peepholes === undefined ? [] : [[peepholes, [count, 3 * hidden]] as const],
  ];
  for (const [input, dims] of expected) {
    if (inputs[input] === undefined || String(inputs[input].dims) === String(dims)) continue;
    throw new RangeError(
      `${label(node)}: input ${input} must be [${dims}]: current shape is [${inputs[input].dims}]`,
    );
  }
  if (length * batch === 0) throw unsupported(node, "its sequences are empty");
  return { directions, batchFirst, length, batch, hidden, state };
}

/** The activations of all directions. */
function activationsIn(node: Node, cell: Cell, directions: number): readonly Activation[] {
  const own = Array.from({ length: directions }, () => cell.activations).flat();
  const names = stringsAttribute(node, "activations", own);
  const found = activationsOf(
    // The default that RNN's specification names is of two directions; one takes the first.
    names.length === 2 && own.length === 1 ? names.slice(0, 1) : names,
    floatsAttribute(node, "activation_alpha", []),
    floatsAttribute(node, "activation_beta", []),
  );
  if (found.length !== own.length || found.includes(undefined)) {
    throw unsupported(node, `attribute "activations" is [${names}]`);
  }
  return found as readonly Activation[];
}

/** Whether a node has nothing that its unrolled form is for, its directions and its layout aside. */
function isPlain(node: Node, cell: Cell): boolean {
  const { activations, plainAttributes = [], peepholes = Infinity } = cell;
  const usual = ["activations", "direction", "hidden_size", "layout", ...plainAttributes];
  const names = stringsAttribute(node, "activations", activations);
  return Object.entries(node.attributes).every(([name, { value }]) =>
    usual.includes(name) || value === 0 && name !== "clip"
  ) && (node.inputs[4] ?? "") === "" && (node.inputs[peepholes] ?? "") === "" &&
    names.every((name, i) =>
      name.toLowerCase() === activations[i % activations.length].toLowerCase()
    );
}

/** Entry `index` of the first axis, which goes away. */
function entry(b: GraphBuilder, value: string, index: number): string {
  const rest = b.dims(value).slice(1);
  return b.reshape(sliceAxis(b, value, 0, index, index + 1), rest);
}

/** For each step which sequences go on that far; `undefined` where all do. */
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

/** What one direction leaves: the output of each step, and its last states. */
interface Run {
  readonly outputs: readonly string[];
  readonly last: readonly string[];
}

function run(
  b: GraphBuilder,
  step: Step,
  projected: readonly string[],
  initial: readonly string[],
  isReverse: boolean,
  masks: readonly (string | undefined)[] | undefined,
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
  // A sequence of no elements has no last state, not even its first one.
  const some = masks?.[0];
  if (some === undefined) return { outputs, last: states };
  return { outputs, last: states.map((s) => b.op("Where", [some, s, scalarLike(b, s, 0)])) };
}

/** Every direction as values of its own. */
interface Runs {
  /** [length · batch, hidden], or [length, 1, batch, hidden]. */
  readonly outputs: string;
  /** States after the last step, [batch, hidden] or [1, batch, hidden]. */
  readonly last: readonly string[];
}

function lower(
  b: GraphBuilder,
  node: Node,
  cell: Cell,
  needed: readonly boolean[],
): readonly string[] {
  const inputs = knownInputs(b, node);
  const { directions, batchFirst, length, batch, hidden, state } = sizesOf(node, inputs, cell);
  const swapped = (value: string, perm: readonly number[]) =>
    batchFirst ? b.op("Transpose", [value], { perm: ints(perm) }) : value;
  const inOrder: Node = {
    ...node,
    inputs: node.inputs.map((value, i) =>
      value !== "" && (i === 0 || cell.states.includes(i)) ? swapped(value, [1, 0, 2]) : value
    ),
  };
  const activations = activationsIn(node, cell, directions.length);
  const runs = isPlain(node, cell)
    ? directions.map((name, d) => plainRun(b, inOrder, cell, name, d))
    : unrolled(b, inOrder, cell, directions, activations);
  const all = () => {
    const each = runs.map(({ outputs }) => b.reshape(outputs, [length, 1, batch, hidden]));
    return swapped(joined(b, each, 1), [2, 0, 1, 3]);
  };
  const last = (i: number) => {
    const values = runs.map(({ last }) => b.reshape(last[i], [1, batch, hidden]));
    return b.reshape(swapped(joined(b, values, 0), [1, 0, 2]), state);
  };
  return [
    needed[0] ? all() : "",
    ...cell.states.map((_, i) => needed[i + 1] ? last(i) : ""),
  ];
}

/** One direction as a node of its own. */
function plainRun(
  b: GraphBuilder,
  node: Node,
  { plainAttributes = [], states, opType }: Cell,
  name: string,
  d: number,
): Runs {
  const taken = plainAttributes.filter((key) => key in node.attributes);
  const inputs = node.inputs.map((value, i) =>
    i === 0 || value === "" ? value : sliceAxis(b, value, 0, d, d + 1)
  );
  const [outputs, ...last] = b.ops(opType, inputs, 1 + states.length, {
    ...Object.fromEntries(taken.map((key) => [key, node.attributes[key]])),
    hidden_size: int(b.dims(node.inputs[2])[2]),
    direction: string(name),
  });
  return { outputs, last };
}

/** All directions, step by step. */
function unrolled(
  b: GraphBuilder,
  node: Node,
  cell: Cell,
  directions: readonly string[],
  activations: readonly Activation[],
): readonly Runs[] {
  const given = (i: number) => node.inputs[i] === "" ? undefined : node.inputs[i];
  const [x] = node.inputs;
  const [length, batch, size] = b.dims(x);
  const hidden = b.dims(node.inputs[2])[2];
  const rows = b.reshape(x, [length * batch, size]);
  const lengths = given(4);
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
    const { outputs, last } = run(b, step, projected, initial, name === "reverse", masks);
    return { outputs: joined(b, outputs, 0), last };
  });
}

/** The rule of a recurrent operator. */
export function recurrent(cell: Cell): OpRule {
  return {
    opType: cell.opType,
    domain: "",
    infer(node, inputs) {
      const { dtype } = required(node, inputs, 0);
      const { directions, batchFirst, length, batch, hidden, state } = sizesOf(node, inputs, cell);
      const count = directions.length;
      const dims = batchFirst ? [batch, length, count, hidden] : [length, count, batch, hidden];
      return [{ dtype, dims }, ...cell.states.map(() => ({ dtype, dims: state }))];
    },
    lower: (b, node, { needed }) => lower(b, node, cell, needed),
    vjp: (b, node, arriving, wanted) => cell.cotangents(b, node, arriving, wanted),
  };
}

/** Holds a value to [-threshold, threshold], as the attribute `clip` says; absent: the value itself. */
export function clipped(b: GraphBuilder, value: string, threshold: number | undefined): string {
  if (threshold === undefined) return value;
  return b.op("Clip", [
    value,
    scalarLike(b, value, -threshold),
    scalarLike(b, value, threshold),
  ]);
}
