/** Serialises messages without copying large tensors. */
import { create, type DescField, isFieldSet, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Proto, type ProtoName, schemaOf } from "./schema.ts";

/** Fields that lead from a model to the raw data of its initializers. */
const PATH: Partial<Record<ProtoName, string>> = {
  ModelProto: "graph",
  GraphProto: "initializer",
  TensorProto: "rawData",
};

/** Smaller data is cheaper to copy than to keep as a separate chunk. */
const SMALL_BYTES = 4096;

function sizeOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((size, chunk) => size + chunk.byteLength, 0);
}

/** All chunks in one array. */
export function concatenated(chunks: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(sizeOf(chunks));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.byteLength;
  }
  return out;
}

/**
 * The encoded message as chunks in order; raw data of initializers is a view. Fields come in the order
 * of their numbers, unknown ones last, as C++ writes them.
 */
export function chunksOf<N extends ProtoName>(name: N, message: Proto<N>): Uint8Array[] {
  const schema = schemaOf(name as ProtoName);
  const source = message as unknown as Record<string, unknown>;
  const chunks: Uint8Array[] = [];
  let pending = create(schema) as unknown as Record<string, unknown>;
  const flush = () => {
    const bytes = toBinary(schema, pending as unknown as Proto<ProtoName>);
    if (bytes.byteLength > 0) chunks.push(bytes);
    pending = create(schema) as unknown as Record<string, unknown>;
  };
  const fields = schema.fields.toSorted((a, b) => a.number - b.number);
  for (const field of fields) {
    if (!isFieldSet(message as unknown as Proto<ProtoName>, field)) continue;
    const value = source[field.localName];
    if (field.localName !== PATH[name] || isSmall(name, value)) {
      pending[field.localName] = value;
      continue;
    }
    flush();
    for (const part of Array.isArray(value) ? value : [value]) {
      const inner = part instanceof Uint8Array
        ? [part]
        : chunksOf(field.message!.name as ProtoName, part as Proto<ProtoName>);
      chunks.push(header(field, sizeOf(inner)), ...inner);
    }
  }
  pending.$unknown = source.$unknown;
  flush();
  return merged(chunks);
}

function isSmall(name: ProtoName, value: unknown): boolean {
  return name === "TensorProto" && (value as Uint8Array).byteLength < SMALL_BYTES;
}

function header(field: DescField, size: number): Uint8Array {
  return new BinaryWriter().tag(field.number, WireType.LengthDelimited).uint32(size).finish();
}

/** Joins neighbouring small chunks to reduce the number of writes. */
function merged(chunks: readonly Uint8Array[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  let small: Uint8Array[] = [];
  const flush = () => {
    if (small.length > 0) out.push(small.length === 1 ? small[0] : concatenated(small));
    small = [];
  };
  for (const chunk of chunks) {
    if (chunk.byteLength < SMALL_BYTES) small.push(chunk);
    else {
      flush();
      out.push(chunk);
    }
  }
  flush();
  return out;
}
