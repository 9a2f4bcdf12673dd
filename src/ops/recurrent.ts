/**
 * What LSTM, GRU and RNN have in common.
 *
 * A plain node, of one direction and with no more than weights, biases, lengths and first states, stays one
 * node, and has cotangents of its own (`recurrent_cotangents.ts`): a graph of few nodes. Every other node is
 * unrolled over the sequence (`recurrent_unrolled.ts`).
 *
 * Source: ONNX's LSTM-22, GRU-22 and RNN-22; what they leave open follows ONNX Runtime.
 */
import {
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
import { activationsIn } from "./recurrent_activations.ts";
import { type Cotangents, joined, LENGTHS } from "./recurrent_cotangents.ts";
import { type Runs, unrolled, type Unrolling } from "./recurrent_unrolled.ts";
import { sliceAxis } from "./slice.ts";
import { mixed } from "./traits.ts";
import type { Count, TrainingRule } from "./types.ts";

type Inputs = readonly (Known | undefined)[];

/** Attributes that all of them have. */
const ATTRIBUTES = [
  "activation_alpha",
  "activation_beta",
  "activations",
  "clip",
  "direction",
  "hidden_size",
  "layout",
];

/** What is particular to one recurrent operator. */
export interface Cell extends Unrolling {
  readonly opType: string;
  readonly gates: number;
  readonly inputs: Count;
  /** Attributes that no other recurrent operator has, and those of them that a plain node may have. */
  readonly ownAttributes?: readonly string[];
  readonly plainAttributes?: readonly string[];
  /** The remark on it in the table of supported operators. */
  readonly remark: string;
  /** Cotangents of a plain node. */
  readonly cotangents: Cotangents;
}

/** Sizes of a node, checked against its weights. */
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
    [LENGTHS, [batch]],
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

/** Whether constant lengths show that no sequence ends before the input does. */
function isWhole(lengths: Known | undefined, length: number): boolean {
  return lengths?.value !== undefined &&
    Array.from(toNumbers(lengths.value)).every((own) => own >= length);
}

/** Whether a node needs nothing that only its unrolled form has; directions and layouts are split off. */
function isPlain(node: Node, cell: Cell): boolean {
  const { activations, plainAttributes = [], peepholes = Infinity } = cell;
  const usual = ["activations", "direction", "hidden_size", "layout", ...plainAttributes];
  const names = stringsAttribute(node, "activations", activations);
  return Object.entries(node.attributes).every(([name, { value }]) =>
    usual.includes(name) || value === 0 && name !== "clip"
  ) && (node.inputs[peepholes] ?? "") === "" &&
    names.every((name, i) =>
      name.toLowerCase() === activations[i % activations.length].toLowerCase()
    );
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
    inputs: node.inputs.map((value, i) => {
      if (i === LENGTHS && isWhole(inputs[i], length)) return "";
      return value !== "" && (i === 0 || cell.states.includes(i))
        ? swapped(value, [1, 0, 2])
        : value;
    }),
  };
  const activations = activationsIn(node, cell.activations, directions.length);
  const runs = isPlain(inOrder, cell)
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
    i === 0 || i === LENGTHS || value === "" ? value : sliceAxis(b, value, 0, d, d + 1)
  );
  const [outputs, ...last] = b.ops(opType, inputs, 1 + states.length, {
    ...Object.fromEntries(taken.map((key) => [key, node.attributes[key]])),
    hidden_size: int(b.dims(node.inputs[2])[2]),
    direction: string(name),
  });
  return { outputs, last };
}

/** The rule of a recurrent operator. */
export function recurrent(cell: Cell): TrainingRule {
  return {
    opType: cell.opType,
    domain: "",
    since: 7,
    attributes: [...ATTRIBUTES, ...cell.ownAttributes ?? []],
    inputs: cell.inputs,
    outputs: `0..${1 + cell.states.length}`,
    remark: cell.remark,
    traits: mixed("recurrence"),
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
