/** What passes ask of nodes that several kinds of operators answer alike. */
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

/** Whether a node multiplies by weights, or by what is computed. */
export function multiplies(node: Node): boolean {
  return PRODUCTS.has(kindOf(node));
}

/** Whether a node multiplies rounded operands. */
export function multipliesRounded(node: Node): boolean {
  const kind = kindOf(node);
  return kind === "rounded product" || kind === "rounded attention";
}

/** Whether a node is attention from queries, keys and values on. */
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

/** Whether a node computes each place from others, or all of them; windows say by themselves how wide they are. */
export function seesOtherPlaces(node: Node): boolean {
  return OF_ALL_PLACES.has(kindOf(node));
}

/** Whether a node looks up rows or elements of a table. */
export function looksUp(node: Node): boolean {
  const kind = kindOf(node);
  return kind === "lookup" || kind === "packed lookup";
}

/** Whether a node gives another result each time. */
export function isRandom(node: Node): boolean {
  return kindOf(node) === "random";
}

/** Whether a node's result says nothing of what is in its inputs, or only sizes. */
export function readsShapes(node: Node): boolean {
  return kindOf(node) === "shape";
}
