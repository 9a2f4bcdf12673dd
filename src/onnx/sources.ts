/** Remembers the messages of decoded objects, so that unchanged parts are written as they were read. */
import type { Attribute, Opsets, ValueInfo, ValueType } from "../graph/types.ts";
import type { Tensor } from "../graph/tensor.ts";
import { create } from "@bufbuild/protobuf";
import { type Proto, type ProtoName, schemaOf } from "./schema.ts";

// Keyed by identity: passes replace objects that they change, so an object found here is unchanged.
const tensors = new WeakMap<Tensor, Proto<"TensorProto">>();
const contents = new WeakMap<Proto<"TensorProto">, Tensor>();
const attributes = new WeakMap<Attribute, Proto<"AttributeProto">>();
const types = new WeakMap<ValueType, Proto<"TypeProto">>();
const lists = new WeakMap<object, readonly Proto<ProtoName>[]>();

/** Remembers that `tensor` was read from `proto`. */
export function rememberTensor(tensor: Tensor, proto: Proto<"TensorProto">): void {
  tensors.set(tensor, proto);
  contents.set(proto, tensor);
}
/** Remembers the tensor of a message that was created for it. */
export function rememberContents(proto: Proto<"TensorProto">, tensor: Tensor): void {
  contents.set(proto, tensor);
}
/** The message a tensor was read from. */
export function protoOfTensor(tensor: Tensor): Proto<"TensorProto"> | undefined {
  return tensors.get(tensor);
}
/** The tensor that was read from a message, or that the message was created for. */
export function tensorOfProto(proto: Proto<"TensorProto">): Tensor | undefined {
  return contents.get(proto);
}

/** Remembers that `attribute` was read from `proto`. */
export function rememberAttribute(attribute: Attribute, proto: Proto<"AttributeProto">): void {
  attributes.set(attribute, proto);
}
/** The message an attribute was read from. */
export function protoOfAttribute(attribute: Attribute): Proto<"AttributeProto"> | undefined {
  return attributes.get(attribute);
}

/** Remembers that `type` was read from `proto`. */
export function rememberType(type: ValueType, proto: Proto<"TypeProto">): void {
  types.set(type, proto);
}
/** The message a type was read from. */
export function protoOfType(type: ValueType): Proto<"TypeProto"> | undefined {
  return types.get(type);
}

/** Remembers the messages that a map or record was read from, in their order. */
export function rememberList<N extends ProtoName>(
  collection: ReadonlyMap<string, ValueInfo> | Readonly<Record<string, string>> | Opsets,
  protos: readonly Proto<N>[],
): void {
  lists.set(collection, protos as readonly Proto<ProtoName>[]);
}
/** The messages a map or record was read from. */
export function protosOfList<N extends ProtoName>(collection: object): Proto<N>[] | undefined {
  return lists.get(collection) as Proto<N>[] | undefined;
}

function same(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => item === b[i]);
  }
  return a === b;
}

/**
 * `base` with some fields replaced; `base` itself if nothing differs, a new message if there is no
 * `base`. A field given as `undefined` is unset. `base` is never changed.
 */
export function overlay<N extends ProtoName>(
  name: N,
  base: Proto<N> | undefined,
  fields: Partial<Proto<N>>,
): Proto<N> {
  const entries = Object.entries(fields);
  const old = base as Record<string, unknown> | undefined;
  if (old !== undefined && entries.every(([key, value]) => same(old[key], value))) return base!;
  const made = create(schemaOf(name)) as unknown as Record<string, unknown>;
  if (old !== undefined) Object.assign(made, old);
  for (const [key, value] of entries) {
    if (value === undefined) delete made[key];
    else made[key] = value;
  }
  return made as unknown as Proto<N>;
}
