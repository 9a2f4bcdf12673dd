/** `AttributeProto` ↔ Attribute. */
import { BadInputError } from "../errors.ts";
import type { Attribute, Graph } from "../graph/types.ts";
import { ATTRIBUTE_TYPE, type Proto } from "./schema.ts";
import { overlay, protoOfAttribute, rememberAttribute } from "./sources.ts";
import type { DecodeContext } from "./tensor_data.ts";
import { decodeTensor, encodeTensor } from "./tensor_proto.ts";

const utf8 = new TextDecoder();
const text = new TextEncoder();

/** Decodes a graph attribute; passed by the caller because graphs and attributes contain each other. */
type DecodeGraph = (proto: Proto<"GraphProto">, place: string) => Graph;
type EncodeGraph = (graph: Graph) => Proto<"GraphProto">;

/** Attribute type by the field in use, as before IR version 2. */
function guessedType(proto: Proto<"AttributeProto">): number {
  if (Object.hasOwn(proto, "f")) return ATTRIBUTE_TYPE.float;
  if (Object.hasOwn(proto, "i")) return ATTRIBUTE_TYPE.int;
  if (Object.hasOwn(proto, "s")) return ATTRIBUTE_TYPE.string;
  if (proto.t !== undefined) return ATTRIBUTE_TYPE.tensor;
  if (proto.g !== undefined) return ATTRIBUTE_TYPE.graph;
  if (proto.floats.length > 0) return ATTRIBUTE_TYPE.floats;
  if (proto.ints.length > 0) return ATTRIBUTE_TYPE.ints;
  if (proto.strings.length > 0) return ATTRIBUTE_TYPE.strings;
  return ATTRIBUTE_TYPE.undefined;
}

/** Decodes one attribute; kinds that graft does not read become `other`. */
export function decodeAttribute(
  proto: Proto<"AttributeProto">,
  place: string,
  context: DecodeContext,
  decodeGraph: DecodeGraph,
): Attribute {
  const attribute = decodeValue(proto, place, context, decodeGraph);
  rememberAttribute(attribute, proto);
  return attribute;
}

function decodeValue(
  proto: Proto<"AttributeProto">,
  place: string,
  context: DecodeContext,
  decodeGraph: DecodeGraph,
): Attribute {
  const rest = proto;
  if (proto.refAttrName !== "") return { kind: "other", rest };
  switch (proto.type || guessedType(proto)) {
    case ATTRIBUTE_TYPE.float:
      return { kind: "float", value: proto.f, rest };
    case ATTRIBUTE_TYPE.int:
      return { kind: "int", value: Number(proto.i), rest };
    case ATTRIBUTE_TYPE.string:
      return { kind: "string", value: utf8.decode(proto.s), rest };
    case ATTRIBUTE_TYPE.tensor:
      if (proto.t === undefined) throw missing("tensor", place, context);
      return { kind: "tensor", value: decodeTensor(proto.t, place, context), rest };
    case ATTRIBUTE_TYPE.graph:
      if (proto.g === undefined) throw missing("graph", place, context);
      return { kind: "graph", value: decodeGraph(proto.g, place), rest };
    case ATTRIBUTE_TYPE.floats:
      return { kind: "floats", value: proto.floats, rest };
    case ATTRIBUTE_TYPE.ints:
      return { kind: "ints", value: proto.ints.map(Number), rest };
    case ATTRIBUTE_TYPE.strings:
      return { kind: "strings", value: proto.strings.map((s) => utf8.decode(s)), rest };
    default:
      return { kind: "other", rest };
  }
}

function missing(what: string, place: string, context: DecodeContext): BadInputError {
  return new BadInputError(`${context.file}: ${place}: its type is ${what}, but it holds none`);
}

const INT64_MAX = 2n ** 63n - 1n;

/** Converts an integer to ONNX's int64; a number that was rounded beyond the largest one means "the end". */
function int64(value: number): bigint {
  const wide = BigInt(Math.trunc(value));
  return wide > INT64_MAX ? INT64_MAX : BigInt.asIntN(64, wide);
}

/** The message of an attribute: the one it was read from if nothing in it changed. */
export function encodeAttribute(
  name: string,
  attribute: Attribute,
  encodeGraph: EncodeGraph,
): Proto<"AttributeProto"> {
  const source = protoOfAttribute(attribute);
  if (attribute.kind === "other" || source !== undefined) {
    const base = source ?? attribute.rest as Proto<"AttributeProto">;
    return overlay("AttributeProto", base, { name, ...nested(attribute, base, encodeGraph) });
  }
  const previous = attribute.rest as Proto<"AttributeProto"> | undefined;
  return overlay("AttributeProto", undefined, {
    ...(previous && Object.hasOwn(previous, "docString") && { docString: previous.docString }),
    ...(previous?.$unknown && { $unknown: previous.$unknown }),
    name,
    type: ATTRIBUTE_TYPE[attribute.kind],
    ...flat(attribute),
    ...nested(attribute, previous, encodeGraph),
  });
}

function flat(attribute: Attribute): Partial<Proto<"AttributeProto">> {
  switch (attribute.kind) {
    case "float":
      return { f: attribute.value };
    case "int":
      return { i: int64(attribute.value) };
    case "string":
      return { s: text.encode(attribute.value) };
    case "floats":
      return { floats: [...attribute.value] };
    case "ints":
      return { ints: attribute.value.map(int64) };
    case "strings":
      return { strings: attribute.value.map((s) => text.encode(s)) };
    default:
      return {};
  }
}

/** Encodes tensors and graphs, which may have changed inside an unchanged attribute. */
function nested(
  attribute: Attribute,
  previous: Proto<"AttributeProto"> | undefined,
  encodeGraph: EncodeGraph,
): Partial<Proto<"AttributeProto">> {
  if (attribute.kind === "graph") return { g: encodeGraph(attribute.value) };
  if (attribute.kind === "tensor") {
    return { t: encodeTensor(previous?.t?.name ?? "", attribute.value, previous?.t) };
  }
  return {};
}
