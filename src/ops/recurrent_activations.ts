/**
 * Activations that recurrent operators name in attributes, with the numbers that they take.
 *
 * Sources: ONNX's LSTM-22, GRU-22 and RNN-22; ONNX Runtime's `rnn_helpers.cc`, whose defaults differ from the
 * specification's for Affine, ThresholdedRelu and ScaledTanh.
 */
import { float, floatsAttribute, stringsAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { unsupported } from "./args.ts";
import { scalarLike } from "./broadcast.ts";

/** Emits an activation of a value; operators without numbers ignore alpha and beta. */
type Emit = (b: GraphBuilder, x: string, alpha: number, beta: number) => string;

interface Kind {
  readonly emit: Emit;
  /** The default; absent if the activation takes none. */
  readonly alpha?: number;
  readonly beta?: number;
}

const plain = (opType: string): Kind => ({ emit: (b, x) => b.op(opType, [x]) });

const times = (b: GraphBuilder, x: string, by: number) => b.op("Mul", [x, scalarLike(b, x, by)]);

const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ["Relu", plain("Relu")],
  ["Tanh", plain("Tanh")],
  ["Sigmoid", plain("Sigmoid")],
  ["Softsign", plain("Softsign")],
  ["Softplus", plain("Softplus")],
  ["Affine", {
    alpha: 0,
    beta: 0,
    emit: (b, x, alpha, beta) => b.op("Add", [times(b, x, alpha), scalarLike(b, x, beta)]),
  }],
  ["LeakyRelu", {
    alpha: 0.01,
    emit: (b, x, alpha) => b.op("LeakyRelu", [x], { alpha: float(alpha) }),
  }],
  ["ThresholdedRelu", {
    alpha: 0,
    emit: (b, x, alpha) => {
      const above = b.op("Greater", [x, scalarLike(b, x, alpha)]);
      return b.op("Where", [above, x, scalarLike(b, x, 0)]);
    },
  }],
  ["ScaledTanh", {
    alpha: 0,
    beta: 0,
    emit: (b, x, alpha, beta) => times(b, b.op("Tanh", [times(b, x, beta)]), alpha),
  }],
  ["HardSigmoid", {
    alpha: 0.2,
    beta: 0.5,
    emit: (b, x, alpha, beta) =>
      b.op("HardSigmoid", [x], { alpha: float(alpha), beta: float(beta) }),
  }],
  ["Elu", { alpha: 1, emit: (b, x, alpha) => b.op("Elu", [x], { alpha: float(alpha) }) }],
]);

const NAMES = new Map([...KINDS.keys()].map((name) => [name.toLowerCase(), name]));

/** An activation with its numbers. */
export type Activation = (b: GraphBuilder, x: string) => string;

/**
 * Activations as a node names them: those that take numbers take the next ones of the lists.
 *
 * @param names as the attribute has them, in upper or lower case
 * @returns `undefined` in the place of an unknown name
 */
function activationsOf(
  names: readonly string[],
  alphas: readonly number[],
  betas: readonly number[],
): readonly (Activation | undefined)[] {
  const [alpha, beta] = [alphas.values(), betas.values()];
  return names.map((name) => {
    const kind = KINDS.get(NAMES.get(name.toLowerCase()) ?? "");
    if (kind === undefined) return undefined;
    const a = kind.alpha === undefined ? 0 : alpha.next().value ?? kind.alpha;
    const c = kind.beta === undefined ? 0 : beta.next().value ?? kind.beta;
    return (b, x) => kind.emit(b, x, a, c);
  });
}

/**
 * A node's activations for all directions.
 *
 * @param usual names for one direction if the node names none
 * @throws {UnsupportedError} for unknown names, or the wrong number of them
 */
export function activationsIn(
  node: Node,
  usual: readonly string[],
  directions: number,
): readonly Activation[] {
  const own = Array.from({ length: directions }, () => usual).flat();
  const names = stringsAttribute(node, "activations", own);
  const found = activationsOf(
    // The default that RNN's specification names is for two directions; a single one takes the first.
    names.length === 2 && own.length === 1 ? names.slice(0, 1) : names,
    floatsAttribute(node, "activation_alpha", []),
    floatsAttribute(node, "activation_beta", []),
  );
  if (found.length !== own.length || found.includes(undefined)) {
    throw unsupported(node, `attribute "activations" is [${names}]`);
  }
  return found as readonly Activation[];
}
