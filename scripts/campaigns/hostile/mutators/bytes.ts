/** Damaged copies of files: bits, bytes, runs and pieces of other files, at random places. */
import { concat } from "@std/bytes/concat";
import { pick, type Random } from "../random.ts";

/** Bytes that readers stumble over: ends of ranges, and the longest numbers of protobuf. */
const SHARP: readonly Uint8Array[] = [
  [0],
  [1],
  [0x7f],
  [0x80],
  [0xff],
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
  [0, 0, 0, 0, 0, 0, 0, 0x80],
].map((bytes) => Uint8Array.from(bytes));

const joined = (...parts: Uint8Array[]): Uint8Array => concat(parts);

/** Headers are at the front of files, and say more than what follows. */
const HEAD_BYTES = 8192;

function place(file: Uint8Array, random: Random): number {
  const all = file.byteLength + 1;
  return random(random(10) < 7 ? Math.min(all, HEAD_BYTES) : all);
}

function damagedOnce(
  file: Uint8Array,
  seeds: readonly Uint8Array[],
  tokens: readonly string[],
  random: Random,
): Uint8Array {
  const at = place(file, random);
  const run = 1 + random(pick(random, [4, 64, 1024]));
  const before = file.subarray(0, at);
  const after = file.subarray(at);
  switch (random(tokens.length > 0 ? 10 : 8)) {
    case 0: { // a bit
      const copy = file.slice();
      if (at < copy.byteLength) copy[at] ^= 1 << random(8);
      return copy;
    }
    case 1: // cut
      return before;
    case 2: // a run lost
      return joined(before, after.subarray(run));
    case 3: // a run repeated
      return joined(before, after.subarray(0, run), after.subarray(0, run), after.subarray(run));
    case 4: // sharp bytes written over
      return joined(before, pick(random, SHARP), after.subarray(1 + random(8)));
    case 5: // sharp bytes put in
      return joined(before, pick(random, SHARP), after);
    case 6: { // noise
      const noise = Uint8Array.from({ length: run }, () => random(256));
      return joined(before, noise, after.subarray(run));
    }
    case 7: { // a piece of another file
      const other = pick(random, seeds);
      const from = place(other, random);
      return joined(before, other.subarray(from, from + run), after.subarray(random(2) * run));
    }
    default: // a word of the format, put in or written over
      return joined(
        before,
        new TextEncoder().encode(pick(random, tokens)),
        after.subarray(random(2) * random(16)),
      );
  }
}

/** A file with one to four damages. `tokens` are words that mean something in the format. */
export function damaged(
  seeds: readonly Uint8Array[],
  tokens: readonly string[],
  random: Random,
): Uint8Array {
  let file = pick(random, seeds);
  for (let i = 1 + random(4); i > 0; i--) file = damagedOnce(file, seeds, tokens, random);
  return file;
}
