/** Graphs as text, to tell whether two compute the same. */
import { createHash } from "node:crypto";
import { extentsOf, isSized, sizedName } from "./extents.ts";
import type { Tensor } from "./tensor.ts";
import type { Attribute, Graph, Node } from "./types.ts";

/** A graph as text; equal text means equal computation. */
export function textOf(graph: Graph): string {
  const lines = [
    ...graph.inputs.map(({ name, type }) =>
      // A subgraph's inputs have the shapes with which it is called.
      `in ${name} ${type!.dtype}[${type!.shape && shapeText(type!.shape as readonly number[])}]`
    ),
    ...[...graph.initializers].map(([name, value]) => `const ${name} ${tensorText(value)}`),
    ...graph.nodes.map((n) =>
      `${n.outputs} = ${n.domain}.${n.opType}(${n.inputs}) ${attributesText(n.attributes)}`
    ),
    `out ${graph.outputs.map((o) => o.name)}`,
  ];
  return lines.join("\n");
}

/** The SHA-256 of a text: a plan keeps many, and looks up calls by them. */
export function digestOfText(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}

const contents = new WeakMap<Tensor, string>();

/** The SHA-256 of a tensor's bytes, computed once. */
export function digestOfContents(tensor: Tensor): string {
  let digest = contents.get(tensor);
  if (digest === undefined) {
    digest = createHash("sha256").update(tensor.bytes).digest("base64");
    contents.set(tensor, digest);
  }
  return digest;
}

/** Dimensions as text: equal where they are equal at every batch. */
export function shapeText(dims: readonly number[]): string {
  return extentsOf(dims).join();
}

/** A tensor as text; for one that follows from a batch's sizes, a text of its contents at every batch. */
export function tensorText(tensor: Tensor): string {
  if (isSized(tensor)) return sizedName(tensor);
  const { dtype, dims, bytes } = tensor;
  return `${dtype}[${shapeText(dims)}] ${bytesText(bytes)}`;
}

/** Attributes as text, equal for equal attributes. */
export function attributesText(attributes: Node["attributes"]): string {
  return `${
    Object.keys(attributes).sort().map((key) => `${key}=${attributeText(attributes[key])}`)
  }`;
}

function attributeText(attribute: Attribute): string {
  if (attribute.kind === "tensor") return tensorText(attribute.value);
  if (attribute.kind === "graph") return `{${textOf(attribute.value)}}`;
  return `${attribute.kind}:${attribute.value}`;
}

/** Bytes as text, one character each: equal only for equal bytes. */
export function bytesText(bytes: Uint8Array): string {
  return ONE_BYTE.decode(bytes);
}

const ONE_BYTE = new TextDecoder("windows-1252");
