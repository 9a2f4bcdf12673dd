/** Unpacks a release's file again and again, and reads it: `unpack_child.ts CACHE DIGEST TIMES`. */
import { assertEquals } from "@std/assert";
import { unpack } from "../../src/system/unpack.ts";

const [cache, digest, times] = Deno.args;
const content = new TextEncoder().encode(digest.repeat(100_000));
const packed = {
  name: "file",
  sha256: digest.repeat(32),
  sizeBytes: content.length,
  read: () => content,
};

for (let time = 0; time < Number(times); time++) {
  using copy = unpack(cache, packed);
  const found = Deno.readFileSync(copy.path);
  assertEquals(found.length, content.length);
  assertEquals(new TextDecoder().decode(found.subarray(0, 2)), digest);
}
