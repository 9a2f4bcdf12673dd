/**
 * Checks the wire format of a message before it is decoded.
 *
 * The decoder trusts its input too much: it reads a field by its number alone, whatever the wire type,
 * lets a nested message run past the end of the one around it, and can create an object of hundreds of
 * bytes for every two bytes. This check refuses such files and names the place; C++ readers refuse or
 * skip the same.
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { BadInputError } from "../errors.ts";
import type { ProtoName } from "./schema.ts";
import { type FieldPlan, type MessagePlan, planOf } from "./wire_plan.ts";

/** Most levels of nested messages; the decoder's own limit, and protobuf's. */
const MAX_NESTING = 100;

/** Approximate memory of a decoded message without its contents; of an unknown field; of a view. */
const MESSAGE_BYTES = 400;
const UNKNOWN_BYTES = 250;
const VIEW_BYTES = 120;
/** Most memory of objects: enough for any small file, and for large files as much as real models need. */
const maxObjectBytes = (fileBytes: number) => (64 << 20) + 16 * fileBytes;
/** Memory of a number in a list outside tensors: an object and its list entry. */
const NUMBER_BYTES = 32;
/** Most bytes of tensors' numbers outside raw data; in a tensor a number may take eight times as much. */
const MAX_PACKED_BYTES = 256 << 20;
/** A varint of 64 bits. */
const MAX_VARINT_BYTES = 10;

/**
 * Checks the records of `bytes` as a message of type `name`.
 *
 * @returns whether numbers that belong into packed records are in separate ones
 * @throws {BadInputError} naming `file` and the place, for a record that is cut, too long, of the wrong
 * wire type, or nested more than 100 deep, and for a file that would take many times its size in memory.
 */
export function checkWire(name: ProtoName, bytes: Uint8Array, file: string): boolean {
  const check = new WireCheck(bytes, file);
  check.run(planOf(name));
  return check.hasUnpacked;
}

class WireCheck {
  readonly #reader: BinaryReader;
  /** Names of the fields that lead to the reader's position. */
  readonly #path: string[] = [];
  #objectBytes = 0;
  #packedBytes = 0;
  hasUnpacked = false;

  constructor(readonly bytes: Uint8Array, readonly file: string) {
    this.#reader = new BinaryReader(bytes);
  }

  run(plan: MessagePlan): void {
    try {
      this.#message(plan, this.bytes.byteLength, 1);
    } catch (error) {
      if (error instanceof BadInputError) throw error;
      const place = `at byte ${this.#reader.pos} of ${this.bytes.byteLength}`;
      throw this.#bad(`${(error as Error).message} ${place}`);
    }
  }

  #bad(problem: string): BadInputError {
    const path = this.#path.length === 0 ? "" : `${this.#path.join(".")}: `;
    return new BadInputError(`${this.file}: no ONNX model: ${path}${problem}`);
  }

  #message(plan: MessagePlan, end: number, depth: number): void {
    if (depth > MAX_NESTING) throw this.#bad(`messages are nested more than ${MAX_NESTING} deep`);
    this.#object(MESSAGE_BYTES);
    const counts = new Map<FieldPlan, number>();
    const reader = this.#reader;
    while (reader.pos < end) {
      const start = reader.pos;
      const [number, wireType] = reader.tag();
      const field = plan.get(number);
      if (field === undefined) {
        reader.skip(wireType, number, MAX_NESTING - depth);
        this.#object(UNKNOWN_BYTES);
      } else {
        const index = counts.get(field) ?? 0;
        counts.set(field, index + 1);
        this.#path.push(field.repeats ? `${field.name}[${index}]` : field.name);
        this.#field(field, wireType, end, depth);
        this.#path.pop();
      }
      if (reader.pos > end) throw this.#bad(`the record at byte ${start} passes the end`);
    }
  }

  #field(field: FieldPlan, wireType: WireType, end: number, depth: number): void {
    const reader = this.#reader;
    const isPacked = field.repeats && wireType === WireType.LengthDelimited &&
      (field.content === "number" || field.content === "packed");
    if (wireType !== field.wireType && !isPacked) {
      throw this.#bad(`wire type ${wireType} before byte ${reader.pos} is not this field's`);
    }
    if (wireType !== WireType.LengthDelimited) {
      reader.skip(wireType);
      if (field.content === "packed") this.hasUnpacked = true;
      this.#count(field, 1);
      return;
    }
    const length = this.#length();
    const stop = reader.pos + length;
    if (stop > end) throw this.#bad(`${length} bytes at byte ${reader.pos} pass the end`);
    if (field.inner !== undefined) this.#message(field.inner, stop, depth + 1);
    if (field.content === "bytes" || field.content === "packed") this.#object(VIEW_BYTES);
    if (isPacked) this.#packed(field, reader.pos, stop);
    reader.pos = stop;
  }

  #length(): number {
    const at = this.#reader.pos;
    const length = this.#reader.uint32();
    // The reader truncates a longer number to its low 32 bits.
    const size = this.#reader.pos - at;
    if (size > 5 || (size === 5 && this.bytes[at + 4] > 15)) {
      throw this.#bad(`the length at byte ${at} passes 4 GiB`);
    }
    return length;
  }

  #packed(field: FieldPlan, start: number, stop: number): void {
    const { wireType } = field;
    if (wireType !== WireType.Varint) {
      const count = (stop - start) / (wireType === WireType.Bit32 ? 4 : 8);
      if (!Number.isInteger(count)) throw this.#cutNumber(stop - start);
      return this.#count(field, count);
    }
    let count = 0;
    let length = 0;
    for (let at = start; at < stop; at++) {
      length++;
      if (length > MAX_VARINT_BYTES) throw this.#bad(`the number before byte ${at} has no end`);
      // The last byte of each number has no high bit.
      if (this.bytes[at] >= 0x80) continue;
      count++;
      length = 0;
    }
    if (length > 0) throw this.#cutNumber(stop - start);
    this.#count(field, count);
  }

  #cutNumber(bytes: number): BadInputError {
    return this.#bad(`a list of ${bytes} bytes ends inside a number`);
  }

  #object(bytes: number): void {
    this.#objectBytes += bytes;
    const most = maxObjectBytes(this.bytes.byteLength);
    if (this.#objectBytes > most) {
      throw this.#bad(
        `so many small records are too many for a file of this size: they take more than ${most} bytes`,
      );
    }
  }

  #count({ content, repeats, size }: FieldPlan, numbers: number): void {
    if (content !== "packed") {
      if (repeats) this.#object(numbers * NUMBER_BYTES);
      return;
    }
    this.#packedBytes += numbers * size!;
    if (this.#packedBytes > MAX_PACKED_BYTES) {
      throw this.#bad(
        `numbers outside raw data make more than ${MAX_PACKED_BYTES} bytes of tensors: save them as raw data`,
      );
    }
  }
}
