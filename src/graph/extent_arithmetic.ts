/** Arithmetic and comparisons of extents. What polynomials cannot tell is decided at the batch. */
import {
  type Atom,
  type Extent,
  LEAST_SYMBOL,
  type Size,
  sizesOf,
  type Term,
  tooLong,
} from "./size.ts";

const termsOf = (extent: Extent): readonly Term[] =>
  typeof extent === "number" ? [{ factor: extent, atoms: [], key: "" }] : extent.terms;

/** a + b. */
export function plus(a: Extent, b: Extent): Extent {
  if (typeof a === "number") return typeof b === "number" ? a + b : plus(b, a);
  let sum = a.sums?.get(b);
  if (sum === undefined) {
    sum = sizesOf([a, b])!.sum([...termsOf(a), ...termsOf(b)]);
    (a.sums ??= new Map()).set(b, sum);
  }
  return sum;
}

/** a · b. */
export function times(a: Extent, b: Extent): Extent {
  if (typeof a === "number") return typeof b === "number" ? a * b : times(b, a);
  if (b === 1) return a;
  let product = a.products?.get(b);
  if (product === undefined) {
    checkProduct(a, b);
    const terms = a.terms.flatMap((x) => termsOf(b).map((y) => timesTerm(x, y)));
    product = sizesOf([a, b])!.sum(terms);
    (a.products ??= new Map()).set(b, product);
  }
  return product;
}

/** Most terms of a product, and most factors of a term: a model's sizes have a handful. */
const MOST_TERMS = 1024;
const MOST_ATOMS = 32;

/** Refuses products that a file can have grow without end, before they are made. */
function checkProduct(a: Size, b: Extent): void {
  const degree = (extent: Extent) => Math.max(...termsOf(extent).map(({ atoms }) => atoms.length));
  if (a.terms.length * termsOf(b).length > MOST_TERMS || degree(a) + degree(b) > MOST_ATOMS) {
    throw tooLong();
  }
}

function timesTerm(x: Term, y: Term): Term {
  const atoms = [...x.atoms, ...y.atoms].sort((p, q) => p.text < q.text ? -1 : 1);
  return { factor: x.factor * y.factor, atoms, key: keyOf(atoms) };
}

const keyOf = (atoms: readonly Atom[]) => atoms.map(({ text }) => text).join("*");

/** a - b. */
export function minus(a: Extent, b: Extent): Extent {
  return plus(a, times(-1, b));
}

/** The sum of some extents; 0 for an empty list. */
export function sumOf(extents: readonly Extent[]): Extent {
  return extents.reduce(plus, 0);
}

/** The product of some extents; 1 for an empty list. */
export function productOf(extents: readonly Extent[]): Extent {
  return extents.reduce(times, 1);
}

/**
 * a / b, where it is a whole number.
 *
 * @returns `undefined` where b does not divide a, or is 0; decided where polynomials cannot tell
 */
export function over(a: Extent, b: Extent): Extent | undefined {
  if (typeof a === "number" && typeof b === "number") {
    return b !== 0 && a % b === 0 ? a / b : undefined;
  }
  if (a === b) return 1;
  if (b === 0) return undefined;
  const sizes = sizesOf([a, b])!;
  const divisor = termsOf(b);
  const quotient = divisor.length === 1 ? termsOf(a).map((term) => overTerm(term, divisor[0])) : [];
  if (quotient.length > 0 && quotient.every((term) => term !== undefined)) {
    return sizes.sum(quotient);
  }
  const divides = sizes.decide(
    `(${b}) divides ${a}`,
    (valueOf) => valueOf(b) !== 0 && valueOf(a) % valueOf(b) === 0,
  );
  return divides ? derived("over", [a, b], (x, y) => x / y) : undefined;
}

function overTerm(term: Term, divisor: Term): Term | undefined {
  const atoms = [...term.atoms];
  for (const { text } of divisor.atoms) {
    const at = atoms.findIndex((atom) => atom.text === text);
    if (at < 0) return undefined;
    atoms.splice(at, 1);
  }
  const factor = term.factor / divisor.factor;
  return Number.isInteger(factor) ? { factor, atoms, key: keyOf(atoms) } : undefined;
}

/**
 * A function of extents that is not a polynomial, such as a quotient that is rounded down.
 *
 * @param name unique to the function, and not the name of a symbol
 * @param compute returns a whole number
 * @param between extents that are a lower and an upper bound of it at every batch
 */
export function derived(
  name: string,
  extents: readonly Extent[],
  compute: (...values: number[]) => number,
  between?: readonly [least: Extent, most: Extent],
): Extent {
  const sizes = sizesOf(extents);
  if (sizes === undefined) return compute(...extents as number[]);
  const text = `${name}(${extents.join(", ")})`;
  const at: Atom["at"] = (valueOf) => compute(...extents.map(valueOf));
  const least = between === undefined ? -Infinity : leastOf(between[0]);
  return sizes.sum([{
    factor: 1,
    atoms: [{ text, isSymbol: false, least, between, at }],
    key: text,
  }]);
}

/** A lower bound of an extent at every batch, as far as its polynomial shows. */
function leastOf(extent: Extent): number {
  return typeof extent === "number" ? extent : extent.least ??= findLeast(extent);
}

function findLeast(extent: Size): number {
  const least = extent.terms.reduce((sum, { factor, atoms }) => {
    if (atoms.length === 0) return sum + factor;
    const isPositive = factor > 0 && isNowhereNegative(atoms);
    const least = atoms.reduce((product, atom) => product * atom.least, factor);
    return sum + (isPositive ? least : -Infinity);
  }, 0);
  const lower = least === -Infinity ? bounded(extent) : undefined;
  return lower === undefined ? least : leastOf(lower);
}

const isNowhereNegative = (atoms: readonly Atom[]) => atoms.every(({ least }) => least >= 0);

/**
 * A lower bound of this extent, with a bound in place of a function's value, so that subtracted terms may
 * cancel; `undefined` where there is none.
 */
function bounded({ sizes, terms }: Size): Extent | undefined {
  const hasBounds = ({ between }: Atom) => between !== undefined;
  // Subtracted terms first: the bound of one may cancel with what it is subtracted from.
  const term = terms.filter(({ atoms }) => atoms.some(hasBounds) && isNowhereNegative(atoms))
    .sort((a, b) => a.factor - b.factor)[0];
  if (term === undefined) return undefined;
  const at = term.atoms.findIndex(hasBounds);
  const [least, most] = term.atoms[at].between!;
  const atoms = term.atoms.toSpliced(at, 1);
  const rest = sizes.sum([{ factor: term.factor, atoms, key: keyOf(atoms) }]);
  const others = sizes.sum(terms.filter((other) => other !== term));
  return plus(others, times(rest, term.factor > 0 ? least : most));
}

/** Whether a ≤ b; decided where polynomials cannot tell. */
export function isAtMost(a: Extent, b: Extent): boolean {
  if (typeof a === "number" && typeof b === "number") return a <= b;
  if (leastOf(minus(b, a)) >= 0) return true;
  if (leastOf(minus(a, b)) > 0) return false;
  return sizesOf([a, b])!.decide(`${a} <= ${b}`, (valueOf) => valueOf(a) <= valueOf(b));
}

/** The largest of some extents, itself one of them; decided where polynomials cannot tell. */
export function largest(extents: readonly Extent[]): Extent {
  return extents.reduce((most, extent) => isAtMost(extent, most) ? most : extent);
}

/**
 * Whether two extents have the same value; decided where polynomials cannot tell. To ask only whether they
 * are the same at every batch, use `===`.
 */
export function areEqual(a: Extent, b: Extent): boolean {
  if (a === b) return true;
  if (typeof a === "number" && typeof b === "number") return false;
  if (leastOf(minus(b, a)) > 0 || leastOf(minus(a, b)) > 0) return false;
  return sizesOf([a, b])!.decide(`${a} = ${b}`, (valueOf) => valueOf(a) === valueOf(b));
}

/** The value of an extent, which this settles: what is built then serves only batches with this value. */
export function settled(extent: Extent): number {
  if (typeof extent === "number") return extent;
  return extent.sizes.settle(extent);
}

/** The value of an extent as a number of nodes: decided, while as a dimension it stays a size. */
export function countOf(extent: Extent): number {
  if (typeof extent === "number") return extent;
  return extent.sizes.decide(`${extent} nodes`, (valueOf) => valueOf(extent));
}

/** An extent as a dimension: 0 and 1 become numbers, so that `=== 1` tells whether an axis broadcasts. */
export function asDimension(extent: Extent): Extent {
  if (typeof extent === "number" || leastOf(extent) >= LEAST_SYMBOL) return extent;
  return extent.sizes.dimension(extent);
}
