/**
 * What the cotangents of plain recurrent nodes have in common.
 *
 * Within a step's derivative, only the cotangents of states pass from step to step. Everything else, gates
 * and their slopes, is computed from the outputs of all steps at once, so that a step is a handful of nodes.
 */
import { int, stringAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { range } from "./axes.ts";
import { expandTo, scalarLike, sum, zeros } from "./broadcast.ts";
import { parts } from "./concat.ts";
import { fromNumbers } from "./fold.ts";
import { product2d } from "./gemm.ts";
import { sliceAxis } from "./slice.ts";
import type { OpRule } from "./types.ts";

/** Has the signature of a rule's `vjp`. */
export type Cotangents = NonNullable<OpRule["vjp"]>;

/** Concatenates values along an axis. */
export function joined(b: GraphBuilder, values: readonly string[], axis: number): string {
  return values.length === 1 ? values[0] : b.op("Concat", values, { axis: int(axis) });
}

/** x·wᵀ + c, everything of two dimensions. */
export function affine(b: GraphBuilder, x: string, w: string, c: string | undefined): string {
  return b.op("Gemm", c === undefined ? [x, w] : [x, w, c], { transB: int(1) });
}

/** 1 - value. */
export function rest(b: GraphBuilder, value: string): string {
  return b.op("Sub", [scalarLike(b, value, 1), value]);
}

/** σ(1 - σ), the slope of a sigmoid from its value. */
export function sigmoidSlope(b: GraphBuilder, value: string): string {
  return b.op("Mul", [value, rest(b, value)]);
}

/** 1 - t², the slope of a tanh from its value. */
export function tanhSlope(b: GraphBuilder, value: string): string {
  return rest(b, b.op("Mul", [value, value]));
}

/** A sum of values, some of which may be absent. */
export function total(
  b: GraphBuilder,
  values: readonly (string | undefined)[],
): string | undefined {
  const found = values.filter((value) => value !== undefined);
  return found.length === 0 ? undefined : found.reduce((x, y) => b.op("Add", [x, y]));
}

/** Cotangents of the products of all steps: of inputs with W, of previous states with R. */
export interface ProductCotangents {
  /** Cotangent of W·x + its bias, [length · batch, gates · hidden]. */
  readonly inputs: string;
  /** Cotangent of R·h + its bias, likewise. */
  readonly states: string;
  /** What R was multiplied with, for each group of successive gates, with the number of its gates. */
  readonly multiplied: readonly { readonly gates: number; readonly by: string }[];
  /** Cotangents of the first states, [batch, hidden] each. */
  readonly initial: readonly string[];
}

/** The input that holds the lengths of sequences. */
export const LENGTHS = 4;

/** Whether each row of all steps is an element of its sequence; `undefined` without lengths. */
function elementMask(
  b: GraphBuilder,
  lengths: string,
  length: number,
  batch: number,
): string | undefined {
  if (lengths === "") return undefined;
  const steps = b.constant(
    fromNumbers(b.known(lengths).dtype, [length, 1], range(length)),
    "steps",
  );
  return b.reshape(b.op("Greater", [lengths, steps]), [length * batch, 1]);
}

/** A plain node: one direction, with its values of all steps as rows [length · batch, ...]. */
export class PlainNode {
  readonly b: GraphBuilder;
  readonly length: number;
  readonly batch: number;
  readonly hidden: number;
  /** X, W and R. */
  readonly x: string;
  readonly w: string;
  readonly r: string;
  /** Biases of W and of R, [gates · hidden] each; absent: none. */
  readonly biases: readonly [string, string] | undefined;
  /** First states, [batch, hidden] each. */
  readonly initial: readonly string[];
  /** The outputs of all steps. */
  readonly outputs: string;
  /** Steps in the order in which they were computed. */
  readonly order: readonly number[];
  /** Whether each row is an element of its sequence, [length · batch, 1]; absent: all are. */
  readonly #mask: string | undefined;
  readonly #node: Node;
  readonly #states: readonly number[];

  /** @param states indices of the inputs that hold first states */
  constructor(b: GraphBuilder, node: Node, states: readonly number[]) {
    this.b = b;
    this.#node = node;
    this.#states = states;
    const [x, w, r, bias = ""] = node.inputs;
    const [length, batch, size] = b.dims(x);
    const [, gates, hidden] = b.dims(r);
    [this.length, this.batch, this.hidden] = [length, batch, hidden];
    this.x = b.reshape(x, [length * batch, size]);
    this.w = b.reshape(w, [gates, size]);
    this.r = b.reshape(r, [gates, hidden]);
    if (bias !== "") {
      const [ofW, ofR] = parts(b, b.reshape(bias, [2 * gates]), 0, 2);
      this.biases = [ofW, ofR];
    }
    this.initial = states.map((i) => {
      const value = node.inputs[i] ?? "";
      return value === ""
        ? zeros(b, b.known(x).dtype, [batch, hidden])
        : b.reshape(value, [batch, hidden]);
    });
    this.outputs = b.reshape(node.outputs[0], [length * batch, hidden]);
    this.#mask = elementMask(b, node.inputs[LENGTHS] ?? "", length, batch);
    const order = range(length);
    const isReverse = stringAttribute(node, "direction", "forward") === "reverse";
    this.order = isReverse ? order.reverse() : order;
  }

  /** Replaces rows that are not elements of their sequence by a number. */
  within(rows: string, outside: number): string {
    if (this.#mask === undefined) return rows;
    return this.b.op("Where", [this.#mask, rows, scalarLike(this.b, rows, outside)]);
  }

  /**
   * 1 for each row that is not an element of its sequence, whose state stays, else 0; absent if there is
   * none.
   */
  get staying(): string | undefined {
    const { b } = this;
    if (this.#mask === undefined) return undefined;
    const [one, zero] = [1, 0].map((value) => scalarLike(b, this.x, value));
    return b.op("Where", [this.#mask, zero, one]);
  }

  /**
   * The outputs before each step; in the reverse direction, a sequence that ends early starts there with its
   * first state.
   */
  get outputsBefore(): string {
    const { b, length, batch, hidden, outputs } = this;
    const [initial] = this.initial;
    if (this.#mask === undefined) return this.before(outputs, initial);
    const first = b.reshape(
      expandTo(b, b.reshape(initial, [1, batch, hidden]), [length, batch, hidden]),
      [length * batch, hidden],
    );
    return this.before(b.op("Where", [this.#mask, outputs, first]), initial);
  }

  /** A state before each step, from the state after each. */
  before(after: string, initial: string): string {
    const { b, batch, length } = this;
    if (length === 1) return initial;
    const isReverse = this.order[0] !== 0;
    const from = isReverse ? batch : 0;
    const others = sliceAxis(b, after, 0, from, from + (length - 1) * batch);
    return b.op("Concat", isReverse ? [others, initial] : [initial, others], { axis: int(0) });
  }

  /** The rows of each step. */
  steps(rows: string): readonly string[] {
    return parts(this.b, rows, 0, this.length);
  }

  /**
   * Cotangents that arrive at the outputs of steps, including that of the last state.
   *
   * @param arriving cotangents of the node's outputs
   */
  #arriving(arriving: readonly (string | undefined)[]): readonly (string | undefined)[] {
    const { b, length, batch, hidden } = this;
    const [all, last] = arriving;
    const each: (string | undefined)[] = all === undefined
      ? new Array(length).fill(undefined)
      : [...this.steps(this.within(b.reshape(all, [length * batch, hidden]), 0))];
    const end = this.order[length - 1];
    each[end] = total(b, [each[end], last && this.arrivingLast(last)]);
    return each;
  }

  /** The cotangent of a last state, [batch, hidden], which a sequence without elements does not have. */
  arrivingLast(last: string): string {
    const { b, batch, hidden } = this;
    const rows = b.reshape(last, [batch, hidden]);
    if (this.#mask === undefined) return rows;
    const some = sliceAxis(b, this.#mask, 0, 0, batch);
    return b.op("Where", [some, rows, scalarLike(b, rows, 0)]);
  }

  /**
   * Goes from the last step to the first and gives each the cotangent of its output.
   *
   * @param arriving cotangents of the node's outputs
   * @param step takes the cotangent of step t's output and returns what reaches the previous output
   * @returns the cotangent of the first state
   */
  goBack(
    arriving: readonly (string | undefined)[],
    step: (dh: string, t: number) => string,
  ): string {
    const { b, batch, hidden } = this;
    const outputs = this.#arriving(arriving);
    let ofState: string | undefined;
    for (const t of [...this.order].reverse()) {
      const dh = total(b, [outputs[t], ofState]);
      ofState = step(dh ?? zeros(b, b.known(this.x).dtype, [batch, hidden]), t);
    }
    return ofState!;
  }

  /** Cotangents of the inputs. */
  cotangents(
    { inputs, states, multiplied, initial }: ProductCotangents,
    wanted: readonly boolean[],
  ): readonly (string | undefined)[] {
    const { b } = this;
    const { inputs: names } = this.#node;
    const shaped = (i: number, value: () => string) =>
      wanted[i] ? b.reshape(value(), b.dims(names[i])) : undefined;
    let gate = 0;
    const dr = () =>
      joined(
        b,
        multiplied.map(({ gates, by }) => {
          const [from, to] = [gate * this.hidden, (gate += gates) * this.hidden];
          return product2d(b, sliceAxis(b, states, 1, from, to), by, 1, 0);
        }),
        0,
      );
    const summed = (rows: string) => b.reshape(sum(b, rows, [0]), [b.dims(rows)[1]]);
    const db = () => b.op("Concat", [summed(inputs), summed(states)], { axis: int(0) });
    const found = names.map((): string | undefined => undefined);
    found[0] = shaped(0, () => product2d(b, inputs, this.w, 0, 0));
    found[1] = shaped(1, () => product2d(b, inputs, this.x, 1, 0));
    found[2] = shaped(2, dr);
    if (this.biases !== undefined) found[3] = shaped(3, db);
    this.#states.forEach((input, i) => {
      if (wanted[input]) found[input] = shaped(input, () => initial[i]);
    });
    return found;
  }
}
