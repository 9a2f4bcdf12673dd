/** Cases of LSTM, GRU and RNN. */
import { float, floats, int, string, strings } from "../../../src/graph/attributes.ts";
import type { CaseInput, OpCase } from "../gradcheck.ts";
import { numbersFor } from "../numbers.ts";
import { typed } from "./inputs.ts";

const GATES = { LSTM: 4, GRU: 3, RNN: 1 } as const;
type Recurrent = keyof typeof GATES;
const ALL = Object.keys(GATES) as Recurrent[];

const [LENGTH, BATCH, SIZE, HIDDEN] = [4, 3, 2, 2];

/** What a case has beside inputs, weights and biases. */
interface Given {
  readonly attributes?: OpCase["attributes"];
  readonly directions?: number;
  readonly biases?: boolean;
  readonly lengths?: CaseInput;
  readonly states?: boolean;
  readonly peepholes?: boolean;
  readonly length?: number;
  readonly outputs?: number;
  readonly seeded?: readonly number[];
  readonly opset?: number;
}

/**
 * Draws of numbers that lead no activation near a point where it has no derivative of any order, which
 * differences need.
 */
const DRAWS: ReadonlyMap<string, number> = new Map([
  ["LSTM Relu", 2],
  ["LSTM ThresholdedRelu", 1],
  ["LSTM Elu", 11],
  ["LSTM peepholes, clipped", 16],
  ["GRU clipped", 23],
  ["GRU Relu", 1],
  ["GRU LeakyRelu", 3],
  ["GRU ThresholdedRelu", 1],
  ["GRU Elu", 2],
  ["GRU Softsign", 2],
  ["GRU linear_before_reset, without biases, bidirectional, clipped", 33],
]);

/** Numbers that keep states from growing. */
const SPREAD = 0.5;

function recurrent(opType: Recurrent, title: string, given: Given = {}): OpCase {
  const { directions = 1, biases = true, lengths, states, peepholes, length = LENGTH } = given;
  const gates = GATES[opType] * HIDDEN;
  let drawn = 100 * (DRAWS.get(`${opType} ${title}`) ?? 0);
  const f = (dims: readonly number[]): CaseInput => {
    const count = dims.reduce((x, y) => x * y, 1);
    const numbers = numbersFor(`${opType} ${title} ${drawn++}`, count);
    return { dims, values: numbers.map((x) => SPREAD * x) };
  };
  const state = () => f([directions, BATCH, HIDDEN]);
  return {
    title,
    opType,
    opset: given.opset,
    attributes: {
      hidden_size: int(HIDDEN),
      ...directions === 2 ? { direction: string("bidirectional") } : {},
      ...given.attributes,
    },
    outputs: given.outputs ?? (opType === "LSTM" ? 3 : 2),
    seeded: given.seeded,
    inputs: [
      f([length, BATCH, SIZE]),
      f([directions, gates, SIZE]),
      f([directions, gates, HIDDEN]),
      biases ? f([directions, 2 * gates]) : undefined,
      lengths,
      states ? state() : undefined,
      ...opType === "LSTM" ? [states ? state() : undefined] : [],
      ...peepholes ? [f([directions, 3 * HIDDEN])] : [],
    ],
  };
}

/** A clip also has a node unrolled that would not be otherwise. */
const clip = (threshold: number) => ({ clip: float(threshold) });
const lengthsFed = (values: readonly number[]) => typed("int32", [values.length], values);
const lengthsFixed = (values: readonly number[]) => ({ ...lengthsFed(values), constant: true });

/** Names of the activations of gates, for as many as an operator has a direction. */
const named = (opType: Recurrent, ...names: readonly string[]) => ({
  activations: strings(names.slice(0, opType === "RNN" ? 1 : opType === "GRU" ? 2 : 3)),
});

/** Each with the numbers that it takes, none of them its default. */
const ACTIVATIONS: readonly (readonly [string, number?, number?])[] = [
  ["Affine", 0.6, 0.2],
  ["Relu"],
  ["LeakyRelu", 0.3],
  ["ThresholdedRelu", 0.05],
  ["Tanh"],
  ["ScaledTanh", 0.7, 0.4],
  ["Sigmoid"],
  ["HardSigmoid", 0.3, 0.4],
  ["Elu", 0.6],
  ["Softsign"],
  ["Softplus"],
];

const all = (each: (opType: Recurrent) => readonly OpCase[]) => ALL.flatMap(each);

export const RECURRENT_CASES: readonly OpCase[] = [
  ...all((opType) => [
    recurrent(opType, "plain"),
    recurrent(opType, "without biases", { biases: false }),
    recurrent(opType, "reverse, initial states", {
      attributes: { direction: string("reverse") },
      states: true,
    }),
    recurrent(opType, "bidirectional, initial states", { directions: 2, states: true }),
    recurrent(opType, "one step", { length: 1, states: true }),
    recurrent(opType, "operator set 7", { opset: 7 }),
    ...[lengthsFed, lengthsFixed].flatMap((lengths, i) =>
      ["forward", "reverse"].map((direction) =>
        recurrent(opType, `${direction}, sequences of ${i ? "known" : "fed"} lengths`, {
          attributes: { direction: string(direction) },
          lengths: lengths([2, 4, 1]),
          states: true,
        })
      )
    ),
    recurrent(opType, "unrolled, both ways, sequences of fed lengths", {
      directions: 2,
      attributes: clip(30),
      lengths: lengthsFed([2, 4, 1]),
      states: true,
    }),
    recurrent(opType, "lengths, only its last state is read", {
      lengths: lengthsFed([2, 4, 1]),
      states: true,
      seeded: [1],
    }),
    recurrent(opType, "lengths, one step", { lengths: lengthsFed([1, 1, 1]), length: 1 }),
    recurrent(opType, "bidirectional, none as long as the input", {
      directions: 2,
      lengths: lengthsFed([2, 3, 1]),
      states: true,
    }),
    recurrent(opType, "known lengths, none shorter", { lengths: lengthsFixed([4, 4, 4]) }),
    recurrent(opType, "clipped", { attributes: clip(0.4), states: true, length: 2 }),
    recurrent(opType, "unrolled", { attributes: clip(30), states: true }),
    recurrent(opType, "unrolled, without biases", { attributes: clip(30), biases: false }),
    recurrent(opType, "unrolled, one step", { attributes: clip(30), length: 1 }),
    recurrent(opType, "unrolled, only its last state is read", {
      attributes: clip(30),
      seeded: [1],
    }),
    recurrent(opType, "reverse, one step, without biases", {
      attributes: { direction: string("reverse") },
      length: 1,
      biases: false,
    }),
    recurrent(opType, "only its outputs", { outputs: 1 }),
    recurrent(opType, "only its last state is read", { seeded: [1] }),
    ...ACTIVATIONS.flatMap(([name, alpha, beta]) => {
      const attributes = {
        ...named(opType, name, name, name),
        // As many as there are activations with numbers.
        ...alpha === undefined ? {} : { activation_alpha: floats([alpha, alpha, alpha]) },
        ...beta === undefined ? {} : { activation_beta: floats([beta, beta, beta]) },
      };
      return [recurrent(opType, name, { attributes, states: true, length: 2 })];
    }),
  ]),
  // A sequence of no elements: of RNN, ONNX Runtime reads what is before its outputs.
  ...(["LSTM", "GRU"] as const).flatMap((opType) => [
    ...[{}, clip(30)].map((attributes, unrolled) =>
      recurrent(opType, `a sequence of no elements${unrolled ? ", unrolled" : ""}`, {
        attributes,
        directions: 2,
        lengths: lengthsFed([0, 4, 2]),
        states: true,
      })
    ),
    recurrent(opType, "activations of several kinds, their numbers in turn, any case", {
      directions: 2,
      attributes: {
        activations: strings(
          opType === "LSTM"
            ? ["hardsigmoid", "TANH", "leakyrelu", "Sigmoid", "ScaledTanh", "elu"]
            : ["hardsigmoid", "leakyrelu", "Sigmoid", "ScaledTanh"],
        ),
        activation_alpha: floats([0.3, 0.1, 0.8]),
        activation_beta: floats([0.4, 0.7]),
      },
    }),
    recurrent(opType, "activations without the numbers that they take", {
      attributes: named(opType, "HardSigmoid", "LeakyRelu", "Elu"),
    }),
  ]),
  recurrent("RNN", "activations by direction, the second with a number", {
    directions: 2,
    attributes: {
      activations: strings(["Tanh", "LeakyRelu"]),
      activation_alpha: floats([0.2]),
    },
  }),
  recurrent("RNN", "two activations for one direction", {
    attributes: { activations: strings(["Sigmoid", "Relu"]) },
  }),
  recurrent("RNN", "LeakyRelu without a number", {
    attributes: { activations: strings(["LeakyRelu"]) },
  }),
  recurrent("GRU", "linear_before_reset", {
    attributes: { linear_before_reset: int(1) },
    states: true,
  }),
  recurrent("GRU", "linear_before_reset, without biases, bidirectional, clipped", {
    attributes: { linear_before_reset: int(1), ...clip(0.5) },
    biases: false,
    directions: 2,
  }),
  recurrent("GRU", "linear_before_reset, without biases, reverse", {
    attributes: { linear_before_reset: int(1), direction: string("reverse") },
    biases: false,
    states: true,
  }),
  recurrent("GRU", "linear_before_reset, both ways, only its last state is read", {
    attributes: { linear_before_reset: int(1) },
    directions: 2,
    seeded: [1],
  }),
  recurrent("GRU", "linear_before_reset, unrolled", {
    attributes: { linear_before_reset: int(1), ...clip(30) },
    directions: 2,
    states: true,
  }),
  recurrent("GRU", "linear_before_reset, lengths", {
    attributes: { linear_before_reset: int(1) },
    directions: 2,
    lengths: lengthsFed([2, 4, 1]),
  }),
  recurrent("LSTM", "peepholes", { peepholes: true, states: true }),
  recurrent("LSTM", "peepholes, bidirectional, lengths", {
    peepholes: true,
    directions: 2,
    lengths: lengthsFed([2, 4, 1]),
  }),
  recurrent("LSTM", "peepholes, clipped", {
    peepholes: true,
    attributes: clip(0.5),
    length: 2,
    states: true,
  }),
  recurrent("LSTM", "input_forget", { attributes: { input_forget: int(1) }, states: true }),
  recurrent("LSTM", "input_forget and peepholes", {
    attributes: { input_forget: int(1) },
    peepholes: true,
  }),
  recurrent("LSTM", "only its last memory is read", { seeded: [2] }),
  recurrent("LSTM", "lengths, only its last memory is read", {
    lengths: lengthsFed([2, 4, 1]),
    seeded: [2],
  }),
  ...ALL.map((opType): OpCase => {
    const zeros = recurrent(opType, "at zero");
    return {
      ...zeros,
      inputs: zeros.inputs.map((input, i) =>
        input && i !== 1 && i !== 2
          ? { ...input, values: new Array(input.dims.reduce((x, y) => x * y, 1)).fill(0) }
          : input
      ),
    };
  }),
];
