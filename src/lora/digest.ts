/** Content digests that identify the base of an adapter. */
import { createHash, type Hash } from "node:crypto";
import { oncePerGraph } from "../graph/once_per_graph.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Attribute, Graph, Model } from "../graph/types.ts";

/** SHA-256 of bytes, as `sha256:<hex>`. */
export function digestOf(...parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return `sha256:${hash.digest("hex")}`;
}

/**
 * Digest of what a model computes: its graph's operators and connections and every weight, whatever the
 * file layout. Node names, annotations, documentation, metadata and the location of weights do not
 * count: saving a model again keeps its digest.
 *
 * @param onRead called with bytes of the weights once they have been read
 */
export function modelDigest({ graph, opsets }: Model, onRead: OnRead = () => {}): string {
  return digestOnce(graph, JSON.stringify(sorted(opsets)), onRead);
}

/** Takes bytes that are no longer needed here. */
type OnRead = (bytes: Uint8Array) => void;

/** Bytes that are read between two calls of {@linkcode OnRead}. */
const BYTES_AT_ONCE = 2 ** 24;

/** Computed once, because reading every weight takes time. */
const digestOnce = oncePerGraph((graph, opsets, onRead: OnRead) => {
  const hash = createHash("sha256");
  put(hash, "graft base 1", JSON.parse(opsets));
  putGraph(hash, graph, onRead);
  return `sha256:${hash.digest("hex")}`;
});

/** Adds values as one JSON line, which is unambiguous because JSON strings escape line ends. */
function put(hash: Hash, ...values: readonly unknown[]): void {
  hash.update(JSON.stringify(values) + "\n");
}

function putGraph(hash: Hash, graph: Graph, onRead: OnRead): void {
  put(hash, "inputs", graph.inputs.map(({ name, type }) => [name, type?.dtype]));
  put(hash, "outputs", graph.outputs.map(({ name }) => name));
  const initializers = [...graph.initializers].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  put(hash, "initializers", initializers.length);
  for (const [name, tensor] of initializers) putTensor(hash, name, tensor, onRead);
  put(hash, "nodes", graph.nodes.length);
  for (const { opType, domain, inputs, outputs, attributes } of graph.nodes) {
    put(hash, domain, opType, inputs, outputs);
    for (const [name, attribute] of sorted(attributes)) putAttribute(hash, name, attribute, onRead);
  }
}

function putTensor(
  hash: Hash,
  name: string,
  { dtype, dims, bytes }: Tensor,
  onRead: OnRead,
): void {
  // The byte count is part of the line, so the following bytes are unambiguous.
  put(hash, name, dtype, dims, bytes.byteLength);
  for (let start = 0; start < bytes.byteLength; start += BYTES_AT_ONCE) {
    const part = bytes.subarray(start, start + BYTES_AT_ONCE);
    hash.update(part);
    onRead(part);
  }
}

function putAttribute(hash: Hash, name: string, attribute: Attribute, onRead: OnRead): void {
  if (attribute.kind === "tensor") return putTensor(hash, name, attribute.value, onRead);
  put(hash, name, attribute.kind, attribute.kind === "graph" ? null : attribute.value ?? null);
  if (attribute.kind === "graph") putGraph(hash, attribute.value, onRead);
}

function sorted<T>(record: Readonly<Record<string, T>>): readonly [string, T][] {
  return Object.entries(record).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
}
