/**
 * Computes operators that treat tokens one by one over only some of a batch's rows.
 *
 * A value [batch, length, ...] becomes [1, rows, ...]; a flat one, [batch · length, ...], becomes
 * [rows, ...].
 */
import { int } from "../graph/attributes.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { extentsOf } from "../graph/extents.ts";
import { times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Graph, Node } from "../graph/types.ts";
import { inferTraining } from "../ops/registry.ts";
import type { BatchShape } from "./inputs.ts";
import { type Lead, TokenRows } from "./token_rows.ts";

export class RowSubset {
  readonly b = new GraphBuilder(inferTraining);
  readonly tokens: TokenRows;
  readonly #shape: BatchShape;
  readonly #rows: Extent;
  readonly #choose: (b: GraphBuilder, flat: string) => string;
  readonly #suffix: string;
  readonly #originals: ReadonlyMap<string, readonly number[]>;
  /** Values that hold the chosen rows under their own names. */
  readonly #reduced = new Map<string, Lead>();

  /**
   * @param lowered graph of known shapes, whose inputs and initializers the new one has
   * @param tokens values of the graph known to hold one row per token
   * @param trainable initializers that training changes, from which nothing may be folded
   * @param rows number of chosen rows
   * @param choose emits the chosen rows of `flat`, a value [batch · length, ...]
   * @param suffix added to the names of values whose rows were chosen
   */
  constructor(
    lowered: Graph,
    shape: BatchShape,
    { tokens = new TokenRows(lowered, shape), trainable, rows, choose, suffix }: {
      readonly tokens?: TokenRows;
      readonly trainable: ReadonlySet<string>;
      readonly rows: Extent;
      readonly choose: (b: GraphBuilder, flat: string) => string;
      readonly suffix: string;
    },
  ) {
    this.tokens = tokens;
    this.#shape = shape;
    this.#rows = rows;
    this.#choose = choose;
    this.#suffix = suffix;
    this.#originals = new Map(
      [...lowered.valueInfo].map(([name, { type }]) => [name, type!.shape as readonly number[]]),
    );
    this.b.reserve(this.#originals.keys());
    for (const { name, type } of lowered.inputs) {
      this.b.input(name, type!.dtype, type!.shape as readonly number[]);
    }
    for (const [name, value] of lowered.initializers) {
      if (trainable.has(name)) this.b.variable(name, value);
      else this.b.initializer(name, value);
    }
  }

  /** How a value holds the chosen rows under its own name; `undefined` where it does not. */
  leadOf(value: string): Lead | undefined {
    return this.#reduced.get(value);
  }

  /** Adds a node that computes each row of `operands` separately, for the chosen rows. */
  addReduced(node: Node, operands: readonly string[]): void {
    const inputs = node.inputs.map((input) =>
      operands.includes(input) ? this.chosen(input) : input
    );
    if (node.opType === "Reshape") inputs[1] = this.b.int64s(this.#dims(node.outputs[0]));
    this.b.add({ ...node, inputs, rest: undefined });
    for (const output of node.outputs) {
      if (output !== "") this.#reduced.set(output, this.tokens.leadingAxes(output)!);
    }
  }

  /** Makes `rows` the chosen rows of a value, under its own name. */
  nameReduced(value: string, rows: string): void {
    this.named(value, rows, this.#dims(value));
    this.#reduced.set(value, this.tokens.leadingAxes(value)!);
  }

  /** The chosen rows of a value. */
  chosen(value: string): string {
    if (this.#reduced.has(value)) return value;
    const name = `${value}${this.#suffix}`;
    if (this.b.has(name)) return name;
    const { batch, length } = this.#shape;
    const behind = this.b.shape(value).slice(this.tokens.leadingAxes(value)!);
    const flat = this.b.reshape(value, [times(batch, length), ...behind]);
    return this.named(name, this.#choose(this.b, flat), this.#dims(value));
  }

  /** Restores a value of the original graph, in all its rows, from `flat`. */
  named(name: string, flat: string, dims: readonly Extent[] = this.before(name)): string {
    return this.b.emit({
      opType: "Reshape",
      domain: "",
      inputs: [flat, this.b.int64s(dims)],
      attributes: { allowzero: int(1) },
      outputs: [name],
    })[0];
  }

  /** Dimensions of a value in the original graph. */
  before(value: string): readonly Extent[] {
    return extentsOf(this.#originals.get(value)!);
  }

  /** Dimensions of a value's chosen rows. */
  #dims(value: string): readonly Extent[] {
    const dims = this.before(value);
    const lead = this.tokens.leadingAxes(value)!;
    return lead === 2 ? [1, this.#rows, ...dims.slice(2)] : [this.#rows, ...dims.slice(1)];
  }
}
