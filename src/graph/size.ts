/**
 * Sizes of a batch as symbols, whole numbers that follow from them, and the decisions made by them.
 *
 * A {@linkcode Size} is a polynomial over symbols. Equal polynomials are one object, so that `===` tells
 * whether two sizes are the same at every batch. A size also has a value, at the batch for which a graph is
 * built. Whatever depends on the value, such as an order or a number of parts, is a decision that
 * {@linkcode Sizes} records: what was built serves every batch at which all decisions come out the same.
 * Source: the hints and guards of PyTorch's symbolic shapes, torch/fx/experimental/symbolic_shapes.py.
 */

import { BadInputError } from "../errors.ts";

/** A whole number, or one that follows from a batch's sizes. */
export type Extent = number | Size;

/** Returns the value of an extent at some batch. */
export type ValueOf = (extent: Extent) => number;

/** A factor in a term of a polynomial: a symbol, or a function of other extents. */
export interface Atom {
  readonly text: string;
  /** Whether it is a symbol. */
  readonly isSymbol: boolean;
  /** A lower bound at every batch. */
  readonly least: number;
  /** Extents that are a lower and an upper bound at every batch. */
  readonly between?: readonly [least: Extent, most: Extent];
  /** Its value at a batch. */
  at(valueOf: ValueOf, symbols: ReadonlyMap<string, number>): number;
}

/** A product of a number and atoms, which are sorted by text. */
export interface Term {
  readonly factor: number;
  readonly atoms: readonly Atom[];
  /** The atoms' texts; empty for a number alone. */
  readonly key: string;
}

/** A number that follows from a batch's sizes; made only by the functions of `extent_arithmetic.ts`. */
export class Size {
  /** @internal The sizes that it is built from. */
  readonly sizes: Sizes;
  /** @internal Its polynomial. */
  readonly terms: readonly Term[];
  /** The polynomial as text; equal polynomials have equal texts. */
  readonly text: string;
  /** The value at the batch for which a graph is built. */
  readonly value: number;
  /** @internal A lower bound at every batch, once it has been asked for. */
  least?: number;
  /** @internal Sums with it, by the other operand: the same few recur throughout a graph. */
  sums?: Map<Extent, Extent>;
  /** @internal Products with it, by the other operand. */
  products?: Map<Extent, Extent>;

  /** @internal */
  constructor(sizes: Sizes, terms: readonly Term[], text: string, value: number) {
    this.sizes = sizes;
    this.terms = terms;
    this.text = text;
    this.value = value;
  }

  /** The text, for messages and names. */
  toString(): string {
    return this.text;
  }

  /** The text, for keys of what is built. */
  toJSON(): string {
    return this.text;
  }

  /**
   * Makes arithmetic and comparisons that take it for a number fail, instead of yielding NaN and false.
   *
   * @throws {TypeError} where it is taken for a number
   */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.text;
    throw new TypeError(`The size ${this.text} is not a number before it is bound to a batch`);
  }
}

/** Characters of a polynomial: those of models have some dozens. */
const LONGEST_TEXT = 16_384;

/** What a model is refused with whose sizes multiply from node to node. */
export function tooLong(): BadInputError {
  return new BadInputError("The sizes of its values multiply from node to node without end");
}

/** A question about a batch's sizes that was asked during building, and its answer. */
export interface Decision {
  /** The question. */
  readonly text: string;
  /** The answer. */
  readonly outcome: number | boolean;
}

type Question = (valueOf: ValueOf) => number | boolean;

/** The symbols of one graph, the sizes made from them, and the decisions made by their values. */
export class Sizes {
  readonly #bound: BoundSizes;
  /** Dimensions made from its sizes, by their text (`extents.ts`). */
  readonly shapes: Map<string, readonly number[]> = new Map();
  readonly #made = new Map<string, Size>();
  readonly #settledSymbols = new Set<string>();
  readonly #decisions = new Map<string, Decision & { readonly ask: Question }>();
  /** Sizes of the batch by which questions are currently answered, if that is another one. */
  #under: BoundSizes | undefined;
  /** Results that were computed while questions were recorded. */
  readonly #settled = new WeakMap<object, unknown>();

  /** @param values of the symbols at the batch for which a graph is built: non-negative whole numbers */
  constructor(values: ReadonlyMap<string, number>) {
    this.#bound = new BoundSizes(values);
  }

  /**
   * A symbol's size. Values of 0 and 1 become numbers at once: an axis of 1 broadcasts, and with nothing, or
   * a single sequence, the graph is a different one.
   *
   * @throws {RangeError} where there is no symbol of this name
   */
  symbol(name: string): Extent {
    const at: Atom["at"] = (_, symbols) => {
      const value = symbols.get(name);
      if (value === undefined) throw new RangeError(`No size is named "${name}"`);
      return value;
    };
    const atom = { text: name, isSymbol: true, least: LEAST_SYMBOL, at };
    return this.dimension(this.sum([{ factor: 1, atoms: [atom], key: name }]));
  }

  /** An extent as a dimension: decides whether it is 0 or 1, which become numbers, or more. */
  dimension(extent: Extent): Extent {
    const value = this.decide(
      `${extent}, 2 for all from 2 on`,
      (valueOf) => Math.min(valueOf(extent), LEAST_SYMBOL),
    );
    return value < LEAST_SYMBOL ? value : extent;
  }

  /**
   * Answers a question by the values at hand, and records the answer. Equal texts must ask the same question.
   */
  decide<T extends number | boolean>(text: string, ask: (valueOf: ValueOf) => T): T {
    const under = this.#under;
    if (under !== undefined) return ask((extent) => under.of(extent));
    const outcome = ask((extent) => this.#bound.of(extent));
    this.#decisions.set(text, { text, outcome, ask });
    return outcome;
  }

  /**
   * Computes something with the sizes at some batch: until it returns, questions are answered by them and
   * nothing is recorded.
   *
   * @param bound default: the sizes at hand
   */
  under<T>(compute: () => T, bound: BoundSizes = this.#bound): T {
    const before = this.#under;
    this.#under = bound;
    try {
      return compute();
    } finally {
      this.#under = before;
    }
  }

  /**
   * Computes something only once per batch, however often it is asked for.
   *
   * @param key identifies what is computed
   */
  once<T>(key: object, compute: () => T): T {
    const kept = this.#under?.computed ?? this.#settled;
    if (!kept.has(key)) kept.set(key, compute());
    return kept.get(key) as T;
  }

  /** The decisions so far. */
  get decisions(): readonly Decision[] {
    return [...this.#decisions.values()].map(({ text, outcome }) => ({ text, outcome }));
  }

  /** Symbols whose values were settled, on their own or in a sum or product, but not inside a function. */
  get settledSymbols(): ReadonlySet<string> {
    return this.#settledSymbols;
  }

  /** The value of a size, which this settles. */
  settle(size: Size): number {
    if (this.#under === undefined) {
      for (const { atoms } of size.terms) {
        for (const { text, isSymbol } of atoms) if (isSymbol) this.#settledSymbols.add(text);
      }
    }
    return this.decide(`${size}`, (valueOf) => valueOf(size));
  }

  /**
   * The sizes at another batch; `undefined` where a decision comes out differently there, so that what was
   * built does not serve it.
   */
  at(values: ReadonlyMap<string, number>): BoundSizes | undefined {
    const bound = new BoundSizes(values);
    const valueOf: ValueOf = (extent) => bound.of(extent);
    for (const { ask, outcome } of this.#decisions.values()) {
      if (ask(valueOf) !== outcome) return undefined;
    }
    return bound;
  }

  /** The polynomial with some terms; a number where no atom is left. */
  sum(terms: readonly Term[]): Extent {
    const byKey = new Map<string, Term>();
    for (const term of terms) {
      const factor = term.factor + (byKey.get(term.key)?.factor ?? 0);
      byKey.set(term.key, { ...term, factor });
    }
    const left = [...byKey.values()].filter(({ factor }) => factor !== 0).sort(byText);
    if (left.every(({ key }) => key === "")) return left[0]?.factor ?? 0;
    const text = left.map(textOf).join(" + ");
    if (text.length > LONGEST_TEXT) throw tooLong();
    let size = this.#made.get(text);
    if (size === undefined) {
      size = new Size(this, left, text, this.#bound.sumOf(left));
      this.#made.set(text, size);
    }
    return size;
  }
}

/** Sizes at one batch. */
export class BoundSizes {
  readonly #symbols: ReadonlyMap<string, number>;
  readonly #values = new Map<Size, number>();
  /** What was computed with these sizes ({@linkcode Sizes.once}). */
  readonly computed: WeakMap<object, unknown> = new WeakMap();

  constructor(symbols: ReadonlyMap<string, number>) {
    this.#symbols = symbols;
  }

  /** The value of an extent. */
  of(extent: Extent): number {
    if (typeof extent === "number") return extent;
    let value = this.#values.get(extent);
    if (value === undefined) this.#values.set(extent, value = this.sumOf(extent.terms));
    return value;
  }

  /** The value of a sum of terms. */
  sumOf(terms: readonly Term[]): number {
    const valueOf: ValueOf = (extent) => this.of(extent);
    return terms.reduce(
      (sum, { factor, atoms }) =>
        sum + atoms.reduce((product, atom) => product * atom.at(valueOf, this.#symbols), factor),
      0,
    );
  }
}

/** Smaller values are numbers ({@linkcode Sizes.symbol}). */
export const LEAST_SYMBOL = 2;

/** Sorts by text, with the plain number last. */
function byText({ key: a }: Term, { key: b }: Term): number {
  if (a === "" || b === "") return Number(a === "") - Number(b === "");
  return a < b ? -1 : 1;
}

const textOf = ({ factor, key }: Term) =>
  key === "" ? `${factor}` : factor === 1 ? key : `${factor}*${key}`;

/** The {@linkcode Sizes} behind some extents; `undefined` where all are numbers. */
export function sizesOf(extents: readonly Extent[]): Sizes | undefined {
  let found: Sizes | undefined;
  for (const extent of extents) {
    if (typeof extent === "number") continue;
    found ??= extent.sizes;
    if (extent.sizes !== found) throw new TypeError(`${extent} is a size of another graph`);
  }
  return found;
}
