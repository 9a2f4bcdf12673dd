/** Graphs as text, to tell whether two compute the same. */
import { createHash } from "node:crypto";
import type { Attribute, Graph } from "../graph/types.ts";

/** A graph as text; equal text means equal computation. */
export function textOf(graph: Graph): string {
  const lines = [
    ...graph.inputs.map((i) => `in ${i.name} ${i.type!.dtype}[${i.type!.shape}]`),
    ...[...graph.initializers].map(([name, t]) =>
      `const ${name} ${t.dtype}[${t.dims}] ${bytesText(t.bytes)}`
    ),
    ...graph.nodes.map((n) =>
      `${n.outputs} = ${n.domain}.${n.opType}(${n.inputs}) ${
        Object.keys(n.attributes).sort().map((k) => `${k}=${attributeText(n.attributes[k])}`)
      }`
    ),
    `out ${graph.outputs.map((o) => o.name)}`,
  ];
  return lines.join("\n");
}

/** The text's SHA-256: a plan holds on to many, and looks calls up by them. */
export function digestOf(graph: Graph): string {
  return createHash("sha256").update(textOf(graph)).digest("base64");
}

/** An attribute as text, equal for equal attributes. */
export function attributeText(attribute: Attribute): string {
  if (attribute.kind === "tensor") {
    const { dtype, dims, bytes } = attribute.value;
    return `${dtype}[${dims}]${bytesText(bytes)}`;
  }
  if (attribute.kind === "graph") return `{${textOf(attribute.value)}}`;
  return `${attribute.kind}:${attribute.value}`;
}

/** Bytes as text, a character each: equal for equal bytes alone. */
export function bytesText(bytes: Uint8Array): string {
  return ONE_BYTE.decode(bytes);
}

const ONE_BYTE = new TextDecoder("windows-1252");
