/**
 * Numbers of a tensor outside `raw_data`: lists that protobuf packs into records of bytes.
 *
 * The records stay the file's bytes until a tensor is created from them: in a list of numbers, an int64
 * of one byte takes 32.
 */
import { concat } from "@std/bytes/concat";

/** Records of one list, in order. */
export type PackedRecords = readonly Uint8Array[];

/** Bytes of all records. */
export function packedBytes(records: PackedRecords): number {
  return records.reduce((sum, record) => sum + record.byteLength, 0);
}

/** Counts the numbers in a range of varints: the last byte of each has no high bit. */
function varintCount(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.byteLength; at++) if (bytes[at] < 0x80) count++;
  return count;
}

/** Floats and doubles of the records, little-endian; a view if there is one record. */
export function fixedNumbers(records: PackedRecords): Uint8Array {
  return records.length === 1 ? records[0] : concat(records as Uint8Array[]);
}

/** Low 32 bits of varints: int32, of which negative ones are written in 64 bits. */
export function varints32(records: PackedRecords): Int32Array {
  const out = new Int32Array(countIn(records));
  let i = 0;
  for (const record of records) {
    for (let at = 0; at < record.byteLength; at++, i++) {
      let value = 0;
      for (let shift = 0;; at++, shift += 7) {
        const byte = record[at];
        if (shift < 32) value |= (byte & 0x7f) << shift;
        if (byte < 0x80) break;
      }
      out[i] = value;
    }
  }
  return out;
}

/** Varints of 64 bits, int64 and uint64 alike. */
export function varints64(records: PackedRecords): BigInt64Array {
  const count = countIn(records);
  const out = new BigInt64Array(count);
  // In 32-bit halves, because a bigint is an object.
  const int32s = new Int32Array(out.buffer);
  let i = 0;
  for (const record of records) {
    for (let at = 0; at < record.byteLength; at++, i += 2) {
      let low = 0;
      let high = 0;
      for (let shift = 0;; at++, shift += 7) {
        const byte = record[at];
        const bits = byte & 0x7f;
        if (shift < 32) low |= bits << shift;
        if (shift === 28) high |= bits >> 4;
        else if (shift > 28 && shift < 64) high |= bits << (shift - 32);
        if (byte < 0x80) break;
      }
      int32s[i] = low;
      int32s[i + 1] = high;
    }
  }
  return out;
}

const countIn = (records: PackedRecords) =>
  records.reduce((sum, record) => sum + varintCount(record), 0);
