/** Questions that passes ask about nodes and that several kinds of operators answer alike. */
import type { Node } from "../graph/types.ts";
import { kindOf } from "./registry.ts";
import type { Kind } from "./traits.ts";

const PRODUCTS: ReadonlySet<Kind> = new Set([
  "convolution",
  "packed product",
  "product",
  "recurrence",
  "rounded product",
]);

/** Whether a node multiplies by weights or by computed values. */
export function multiplies(node: Node): boolean {
  return PRODUCTS.has(kindOf(node));
}

/** Whether a node multiplies rounded operands. */
export function multipliesRounded(node: Node): boolean {
  const kind = kindOf(node);
  return kind === "rounded product" || kind === "rounded attention";
}

/** Whether a node is attention over given queries, keys and values. */
export function attends(node: Node): boolean {
  const kind = kindOf(node);
  return kind === "attention" || kind === "rounded attention";
}

/** Whether a node normalises by a mean and deviation, or by a norm. */
export function normalizes(node: Node): boolean {
  const kind = kindOf(node);
  return kind === "normalization" || kind === "channel normalization";
}

const OF_ALL_PLACES: ReadonlySet<Kind> = new Set([
  "channel normalization",
  "global pooling",
  "recurrence",
  "resampling",
]);

/**
 * Whether a node computes each position from others, or from all of them; how wide windows are must be asked
 * of the node.
 */
export function seesOtherPlaces(node: Node): boolean {
  return OF_ALL_PLACES.has(kindOf(node));
}

/** Whether a node looks up rows or elements of a table. */
export function looksUp(node: Node): boolean {
  const kind = kindOf(node);
  return kind === "lookup" || kind === "packed lookup";
}

/** Whether a node gives a different result each time. */
export function isRandom(node: Node): boolean {
  return kindOf(node) === "random";
}

/** Whether a node's result depends on nothing in its inputs, or only on their sizes. */
export function readsShapes(node: Node): boolean {
  return kindOf(node) === "shape";
}
