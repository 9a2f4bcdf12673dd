/**
 * Checks the wire format of a message before it is decoded.
 *
 * The decoder trusts what it should not: it takes a field's bytes by the number alone, whatever
 * their wire type, and lets a nested message run past the end of the one around it. Both read
 * something other than what is there; C++ readers refuse or skip them. This walk refuses them and
 * names the place.
 */
import type { DescField } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { BadInputError } from "../errors.ts";
import { type ProtoName, schemaOf } from "./schema.ts";

/** Messages inside messages; the decoder's own limit, and protobuf's. */
const MAX_NESTING = 100;

/** Wire types a field may come in. */
function wireTypesOf(field: DescField): readonly WireType[] {
  if (
    field.fieldKind === "message" || (field.fieldKind === "list" && field.listKind === "message")
  ) {
    return [WireType.LengthDelimited];
  }
  const single = scalarWireType((field as { scalar: ScalarType }).scalar);
  return field.fieldKind === "list" ? [single, WireType.LengthDelimited] : [single];
}

function scalarWireType(scalar: ScalarType): WireType {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.FLOAT:
      return WireType.Bit32;
    case ScalarType.DOUBLE:
      return WireType.Bit64;
    default:
      return WireType.Varint;
  }
}

interface FieldPlan {
  readonly name: string;
  readonly wireTypes: readonly WireType[];
  /** Of nested messages. */
  readonly inner?: MessagePlan;
  readonly repeats: boolean;
  /** Bytes of one element of a packed list of fixed size. */
  readonly elementBytes?: number;
}
type MessagePlan = Map<number, FieldPlan>;

const plans = new Map<ProtoName, MessagePlan>();

function planOf(name: ProtoName): MessagePlan {
  const known = plans.get(name);
  if (known !== undefined) return known;
  const plan: MessagePlan = new Map();
  plans.set(name, plan); // before the fields, which may lead back here
  for (const field of schemaOf(name).fields) {
    const message = field.message;
    const wireTypes = wireTypesOf(field);
    plan.set(field.number, {
      name: field.name,
      wireTypes,
      repeats: field.fieldKind === "list",
      inner: message && planOf(message.name as ProtoName),
      elementBytes: wireTypes[0] === WireType.Bit32
        ? 4
        : wireTypes[0] === WireType.Bit64
        ? 8
        : undefined,
    });
  }
  return plan;
}

/**
 * Walks the records of `bytes` as a message called `name`.
 *
 * @throws {BadInputError} naming `file` and the place, for a record that is cut, too long, of the
 * wrong wire type, or nested more than 100 deep.
 */
export function checkWire(name: ProtoName, bytes: Uint8Array, file: string): void {
  const reader = new BinaryReader(bytes);
  const path: string[] = [];
  const bad = (problem: string) =>
    new BadInputError(
      `${file}: no ONNX model: ${path.length === 0 ? "" : `${path.join(".")}: `}${problem}`,
    );

  const walk = (plan: MessagePlan, end: number, depth: number) => {
    if (depth > MAX_NESTING) throw bad(`messages are nested more than ${MAX_NESTING} deep`);
    const counts = new Map<number, number>();
    while (reader.pos < end) {
      const start = reader.pos;
      const [number, wireType] = reader.tag();
      const field = plan.get(number);
      if (field === undefined) {
        reader.skip(wireType, number, MAX_NESTING - depth);
        if (reader.pos > end) throw bad(`the record at byte ${start} passes the end`);
        continue;
      }
      const index = counts.get(number) ?? 0;
      counts.set(number, index + 1);
      path.push(field.repeats ? `${field.name}[${index}]` : field.name);
      if (!field.wireTypes.includes(wireType)) {
        throw bad(`wire type ${wireType} at byte ${start} is not this field's`);
      }
      if (wireType === WireType.LengthDelimited) {
        const length = lengthAt();
        const stop = reader.pos + length;
        if (stop > end) throw bad(`${length} bytes at byte ${reader.pos} pass the end`);
        if (field.inner !== undefined) walk(field.inner, stop, depth + 1);
        else if (field.wireTypes[0] !== WireType.LengthDelimited) packed(field, stop);
        else reader.pos = stop;
      } else {
        reader.skip(wireType);
        if (reader.pos > end) throw bad(`the record at byte ${start} passes the end`);
      }
      path.pop();
    }
  };

  const lengthAt = () => {
    const at = reader.pos;
    const length = reader.uint32();
    // The reader cuts a longer number to its low 32 bits.
    const size = reader.pos - at;
    if (size > 5 || (size === 5 && bytes[reader.pos - 1] > 15)) {
      throw bad(`the length at byte ${at} passes 4 GiB`);
    }
    return length;
  };

  const packed = (field: FieldPlan, stop: number) => {
    const length = stop - reader.pos;
    if (
      field.elementBytes !== undefined
        ? length % field.elementBytes
        : length > 0 && bytes[stop - 1] > 127
    ) {
      throw bad(`a list of ${length} bytes ends inside an element`);
    }
    reader.pos = stop;
  };

  try {
    walk(planOf(name), bytes.byteLength, 1);
  } catch (error) {
    if (error instanceof BadInputError) throw error;
    throw bad(`${(error as Error).message} at byte ${reader.pos} of ${bytes.byteLength}`);
  }
}
