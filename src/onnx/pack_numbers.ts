/** Packs numbers of tensors that a writer stored in separate records, as protobuf allows. */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { ProtoName } from "./schema.ts";
import { type MessagePlan, planOf } from "./wire_plan.ts";

/**
 * The message with such numbers in packed records, as all of ONNX's own writers store them.
 *
 * @param bytes accepted by `checkWire()`
 */
export function withPackedNumbers(name: ProtoName, bytes: Uint8Array): Uint8Array {
  return rewritten(planOf(name), bytes);
}

function rewritten(plan: MessagePlan, bytes: Uint8Array): Uint8Array {
  const reader = new BinaryReader(bytes);
  const writer = new BinaryWriter();
  /** Packed and unpacked numbers by field, in the order of the file. */
  const numbers = new Map<number, BinaryWriter>();
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, wireType] = reader.tag();
    const field = plan.get(number);
    const at = reader.pos;
    reader.skip(wireType, number);
    if (field?.content === "packed") {
      const list = numbers.get(number) ?? new BinaryWriter();
      numbers.set(number, list);
      const value = bytes.subarray(at, reader.pos);
      list.raw(wireType === WireType.LengthDelimited ? new BinaryReader(value).bytes() : value);
    } else if (field?.inner !== undefined) {
      const inner = new BinaryReader(bytes.subarray(at, reader.pos)).bytes();
      writer.tag(number, WireType.LengthDelimited).bytes(rewritten(field.inner, inner));
    } else writer.raw(bytes.subarray(start, reader.pos));
  }
  for (const [number, list] of numbers) {
    writer.tag(number, WireType.LengthDelimited).bytes(list.finish());
  }
  return writer.finish();
}
