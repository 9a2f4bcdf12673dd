import { assertEquals, assertThrows } from "@std/assert";
import { parseSize } from "../../src/config/size.ts";
import { ParameterError } from "../../src/errors.ts";

Deno.test("parseSize() reads sizes as people write them", () => {
  const read = ["512M", "1.5G", "2GB", "1GiB", "300k", "4096", "1 T"].map((t) => parseSize(t, "x"));
  assertEquals(read, [512e6, 1.5e9, 2e9, 2 ** 30, 300e3, 4096, 1e12]);
});

for (const text of ["", "G", "-1G", "1.G", "1X", "0", "1i", "1e9"]) {
  Deno.test(`parseSize() refuses "${text}"`, () => {
    assertThrows(() => parseSize(text, "memoryBudget"), ParameterError, "memoryBudget must be");
  });
}
