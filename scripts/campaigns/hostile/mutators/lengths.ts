/** Length fields that say something else than what follows them. */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { concat } from "@std/bytes/concat";
import type { ProtoName } from "../../../../src/onnx/schema.ts";
import { type MessagePlan, planOf } from "../../../../src/onnx/wire_plan.ts";
import { pick, type Random } from "../random.ts";

interface LengthField {
  readonly at: number;
  readonly end: number;
  readonly value: number;
}

/** Every length in a message, those of messages inside included. */
function lengthsOf(name: ProtoName, bytes: Uint8Array): LengthField[] {
  const found: LengthField[] = [];
  const reader = new BinaryReader(bytes);
  const walk = (plan: MessagePlan, end: number) => {
    while (reader.pos < end) {
      const [number, wireType] = reader.tag();
      if (wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, number);
        continue;
      }
      const at = reader.pos;
      const value = reader.uint32();
      found.push({ at, end: reader.pos, value });
      const stop = reader.pos + value;
      const inner = plan.get(number)?.inner;
      if (inner !== undefined) walk(inner, stop);
      reader.pos = stop;
    }
  };
  walk(planOf(name), bytes.byteLength);
  return found;
}

/** A model in which one to three lengths are others; what they count stays as it is. */
export function otherLengths(bytes: Uint8Array, random: Random): Uint8Array {
  let file = bytes;
  for (let i = 1 + random(3); i > 0; i--) {
    let lengths: LengthField[];
    try {
      lengths = lengthsOf("ModelProto", file);
    } catch {
      return file; // the last change made it unreadable
    }
    const { at, end, value } = pick(random, lengths);
    const other = pick(random, [
      ...[value + 1, Math.max(0, value - 1), 0, value * 2, value + 8, Math.max(0, value - 8)],
      ...[0x7f, 0x7fffffff, 0xffffffff, file.byteLength],
    ]) >>> 0;
    const written = new BinaryWriter().uint32(other).finish();
    file = concat([file.subarray(0, at), written, file.subarray(end)]);
  }
  return file;
}
