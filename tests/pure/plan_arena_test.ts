import { assertEquals, assertThrows } from "@std/assert";
import { Arena } from "../../src/plan/arena.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

Deno.test("Arena doubles its regions, and grows past a block that needs more", () => {
  const arena = new Arena();
  const sizes = [300 * KIB, 800 * KIB, 3 * MIB, 9 * MIB];
  const grown = sizes.map((bytes) => {
    arena.take(bytes);
    return arena.regionBytes / MIB;
  });
  // 1, then 2 beside it, then 4 beside them, then 16 since 8 do not hold it.
  assertEquals(grown, [1, 3, 7, 23]);
});

Deno.test("Arena counts the pages that were written to, once", () => {
  const arena = new Arena();
  const block = arena.take(100 * KIB);
  assertEquals(arena.touchedBytes, 100 * KIB);
  arena.release(block);
  arena.take(60 * KIB);
  assertEquals(arena.touchedBytes, 100 * KIB);
  arena.take(60 * KIB);
  assertEquals(arena.touchedBytes, 120 * KIB);
});

Deno.test("Arena gives the smallest free block that fits, whole where less than half is left over", () => {
  const arena = new Arena();
  const [large, , small] = [300, 1, 200, 1].map((kib) => arena.take(kib * KIB));
  arena.release(large);
  arena.release(small);
  const used = arena.usedBytes;
  const found = arena.take(150 * KIB);
  assertEquals(arena.usedBytes - used, 200 * KIB);
  arena.release(found);
  // Split: the block is at least twice as large as what is asked for.
  arena.take(90 * KIB);
  assertEquals(arena.usedBytes - used, 90 * KIB);
});

Deno.test("Arena joins free neighbours", () => {
  const arena = new Arena();
  const parts = [0, 1, 2].map(() => arena.take(300 * KIB));
  arena.take(100 * KIB);
  for (const i of [0, 2, 1]) arena.release(parts[i]);
  const before = arena.regionBytes;
  arena.take(MIB);
  assertEquals(arena.regionBytes, before);
});

Deno.test("Arena refuses a block that was given back already", () => {
  const arena = new Arena();
  const block = arena.take(KIB);
  arena.release(block);
  assertThrows(() => arena.release(block), RangeError, "released twice");
});
