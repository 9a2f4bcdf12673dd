/** Which heads can run in chunks of the vocabulary: a product with a frozen weight, and a bias. */
import { intAttribute } from "../graph/attributes.ts";
import { dimsIn, producersOf, shapeIn, typeIn } from "../graph/facts.ts";
import type { Graph, Node } from "../graph/types.ts";
import { isElementwise, traitsOf } from "../ops/registry.ts";
import { transposedMatrix } from "../ops/transpose.ts";
import { type PlainProduct, plainProduct } from "./plain_product.ts";

/** A head that can run in chunks: logits = hidden · weightᵀ + bias, or hidden · weight + bias. */
export interface ChunkableHead {
  /** [rows, K] */
  readonly hidden: string;
  readonly logits: string;
  /** The product's result: the logits, or what the bias is added to. */
  readonly product: string;
  /** [vocabulary, K], or [K, vocabulary]. */
  readonly weight: string;
  /** The axis of the weight that is the vocabulary. */
  readonly axis: 0 | 1;
  /** Initializer with one entry per entry of the vocabulary. */
  readonly bias?: string;
  /** Nodes that compute the weight from initializers. */
  readonly preparing: readonly Node[];
  readonly vocabulary: number;
}

/** Finds a head whose weight and bias are frozen and can be split; `undefined` where there is none. */
export function findChunkableHead(
  lowered: Graph,
  constants: ReadonlySet<string>,
  trainable: ReadonlySet<string>,
  chunk: number,
): ChunkableHead | undefined {
  const logits = lowered.outputs[0].name;
  const [, vocabulary, ...more] = shapeIn(lowered, logits);
  if (typeof vocabulary !== "number" || more.length > 0 || vocabulary <= chunk) return undefined;
  const producers = producersOf(lowered.nodes);
  const found = productOf(lowered, logits, producers);
  if (found === undefined) return undefined;
  const { product, bias } = found;
  const [hidden] = product.inputs;
  const { weight, axis } = weightOf(product, producers);
  if (!constants.has(weight) || constants.has(hidden)) return undefined;
  const isFrozen = (value: string) => lowered.initializers.has(value) && !trainable.has(value);
  if (bias !== undefined && !(isFrozen(bias) && isBias(lowered, bias, vocabulary))) {
    return undefined;
  }
  const preparing: Node[] = [];
  const comesApart = axis === 0 ? comesApartInRows : comesApartInColumns;
  const visit = (value: string): boolean => {
    const producer = producers.get(value);
    if (producer === undefined) {
      return !trainable.has(value) && (axis === 0 || comesApart(lowered, value, vocabulary));
    }
    if (preparing.includes(producer)) return true;
    const fine = producer.inputs.every((input) => input === "" || visit(input));
    preparing.push(producer);
    return fine && isSliceable(lowered, producer, axis, vocabulary) &&
      comesApart(lowered, value, vocabulary);
  };
  if (!visit(weight)) return undefined;
  const [y] = product.outputs;
  return { hidden, logits, product: y, weight, axis, bias, preparing, vocabulary };
}

/**
 * Results of the products from which logits are computed entry by entry, where there are more classes than a
 * chunk has.
 */
export function wideProducts(lowered: Graph, chunk: number): ReadonlySet<string> {
  const found = new Set<string>();
  const [{ name: logits }] = lowered.outputs;
  const classes = dimsIn(lowered, logits).at(-1);
  if (classes === undefined || classes <= chunk) return found;
  const producers = producersOf(lowered.nodes);
  // Visits each value once: chains may be long, and a value read twice would repeat everything before it.
  const reached = new Set([logits]);
  for (const value of reached) {
    const node = producers.get(value);
    if (node === undefined) continue;
    if (plainProduct(node) !== undefined) found.add(value);
    else if (isEntryByEntry(node)) {
      for (const input of node.inputs) reached.add(input);
    }
  }
  return found;
}

/** Operators that may follow a head's product: a bias, an adapter's part, a factor, a soft cap. */
const isEntryByEntry = (node: Node) => isElementwise(node) || traitsOf(node).memory === "view";

/** Whether each entry of the vocabulary has the same number of rows: one, or one per block. */
export function isMultiple(rows: number | undefined, vocabulary: number): boolean {
  return rows !== undefined && rows > 0 && rows % vocabulary === 0;
}

/** Whether a node's result for some entries of a weight's axis follows from those entries alone. */
function isSliceable(lowered: Graph, node: Node, axis: 0 | 1, vocabulary: number): boolean {
  const along = intAttribute(node, "axis", 0);
  // Codes are looked up in a table, which is not part of the weight.
  if (node.opType === "Gather") {
    return axis === 0 && along === 0 && !isMultiple(dimsIn(lowered, node.inputs[0])[0], vocabulary);
  }
  const { kind, memory } = traitsOf(node);
  if (isElementwise(node) || kind === "dequantization") return true;
  // In blocks, and in what is packed and reshaped, only rows can be taken.
  const isByRow = kind === "packed lookup" || memory === "view" ||
    node.opType === "Concat" && along !== 0;
  return axis === 0 && isByRow;
}

/** Whether a computed value has rows for each entry of the vocabulary. */
function comesApartInRows(lowered: Graph, value: string, vocabulary: number): boolean {
  return isMultiple(dimsIn(lowered, value)[0], vocabulary);
}

/** Whether a value has a column for each entry of the vocabulary, or is the same for all of them. */
function comesApartInColumns(lowered: Graph, value: string, vocabulary: number): boolean {
  const { dtype, dims } = typeIn(lowered, value)!;
  const last = dims.at(-1) ?? 1;
  if (last === 1 || dims.length === 1) return last === 1 || last === vocabulary;
  // Two 4-bit entries share a byte, so a single column cannot be gathered.
  const isPacked = dtype === "int4" || dtype === "uint4";
  return last === vocabulary && dims[0] !== vocabulary && !isPacked;
}

/** A product of two operands alone, or with a bias added. */
function productOf(
  lowered: Graph,
  logits: string,
  producers: ReadonlyMap<string, Node>,
): PlainProduct | undefined {
  const node = producers.get(logits);
  if (node?.opType !== "Add") return node && plainProduct(node);
  for (const [side, bias] of [node.inputs, node.inputs.toReversed()]) {
    const made = producers.get(side);
    const found = made && plainProduct(made);
    if (found !== undefined && found.bias === undefined && lowered.initializers.has(bias)) {
      return { ...found, bias };
    }
  }
  return undefined;
}

/** The weight before the product transposes it, and its axis of output features. */
function weightOf(
  product: Node,
  producers: ReadonlyMap<string, Node>,
): { readonly weight: string; readonly axis: 0 | 1 } {
  const [, right] = product.inputs;
  const transB = product.opType === "Gemm" && intAttribute(product, "transB", 0) === 1;
  const matrix = transposedMatrix(producers.get(right));
  return { weight: matrix ?? right, axis: (matrix !== undefined) === transB ? 1 : 0 };
}

/** Whether a bias has exactly one entry per entry of the vocabulary. */
function isBias(lowered: Graph, bias: string, vocabulary: number): boolean {
  const dims = dimsIn(lowered, bias);
  return dims.at(-1) === vocabulary && dims.slice(0, -1).every((dim) => dim === 1);
}
