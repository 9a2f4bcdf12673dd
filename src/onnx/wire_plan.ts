/** The expected wire format of the records of each message. */
import { type DescField, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import type { Scalars } from "../protobuf/message_table.ts";
import { packedType, type ProtoName, schemaOf } from "./schema.ts";

/** One field: its name and the contents of its records. */
export interface FieldPlan {
  readonly name: string;
  readonly repeats: boolean;
  readonly content: "message" | "bytes" | "number" | "packed";
  /**
   * Wire type of one value; a list of numbers may also be packed, and a packed list may come as single
   * values.
   */
  readonly wireType: WireType;
  /** Bytes that a packed number takes in a tensor. */
  readonly size?: number;
  /** Of a nested message. */
  readonly inner?: MessagePlan;
}

/** Fields by number. */
export type MessagePlan = ReadonlyMap<number, FieldPlan>;

const plans = new Map<ProtoName, Map<number, FieldPlan>>();

/** The plan of a message and, through it, of all messages inside. */
export function planOf(name: ProtoName): MessagePlan {
  const known = plans.get(name);
  if (known !== undefined) return known;
  const plan = new Map<number, FieldPlan>();
  plans.set(name, plan); // before the fields, which may lead back here
  for (const field of schemaOf(name).fields) {
    const packed = packedType(name, field.name);
    const made = packed === undefined ? fieldPlan(field) : packedPlan(field.name, packed);
    plan.set(field.number, made);
  }
  return plan;
}

/** Wire types of packed numbers, and the bytes of each in a tensor. */
const PACKED = {
  float: [WireType.Bit32, 4],
  double: [WireType.Bit64, 8],
  int32: [WireType.Varint, 4],
  int64: [WireType.Varint, 8],
  uint64: [WireType.Varint, 8],
} as const;

function packedPlan(name: string, type: keyof Scalars): FieldPlan {
  const [wireType, size] = PACKED[type as keyof typeof PACKED];
  return { name, repeats: true, content: "packed", wireType, size };
}

function fieldPlan(field: DescField): FieldPlan {
  const named = { name: field.name, repeats: field.fieldKind === "list" };
  if (field.message !== undefined) {
    const inner = planOf(field.message.name as ProtoName);
    return { ...named, content: "message", wireType: WireType.LengthDelimited, inner };
  }
  switch ((field as { scalar: ScalarType }).scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return { ...named, content: "bytes", wireType: WireType.LengthDelimited };
    case ScalarType.FLOAT:
      return { ...named, content: "number", wireType: WireType.Bit32 };
    case ScalarType.DOUBLE:
      return { ...named, content: "number", wireType: WireType.Bit64 };
    default:
      return { ...named, content: "number", wireType: WireType.Varint };
  }
}
