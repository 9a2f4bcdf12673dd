import { assertEquals } from "@std/assert";
import { countMissing, decodeDigests, RowDigests } from "../../src/service/row_digests.ts";

function digestsOf(...lines: string[]): BigUint64Array<ArrayBuffer> {
  const digests = new RowDigests();
  for (const line of lines) digests.add(line);
  return digests.sorted();
}

Deno.test("countMissing() counts different rows that are gone, whatever came and in which order", () => {
  const before = digestsOf("a", "b", "c", "c");
  assertEquals(countMissing(before, digestsOf("d", "c", "b", "a", "e")), 0);
  assertEquals(countMissing(before, digestsOf("a")), 2);
  assertEquals(countMissing(before, digestsOf()), 3);
  assertEquals(countMissing(digestsOf(), before), 0);
});

Deno.test("decodeDigests() gives back what was written, and nothing for what is no list", () => {
  const digests = digestsOf("a", "b");
  assertEquals(decodeDigests(new Uint8Array(digests.buffer)), digests);
  assertEquals(decodeDigests(new Uint8Array(9)), undefined);
});
