// PROMISES 6 at a hundredth of its counts; `deno task campaign:hostile` runs all of them in a child.
import { assert, assertEquals } from "@std/assert";
import { attack, FORMATS } from "../helpers/hostile.ts";

for (const format of FORMATS) {
  Deno.test(`mutants of ${format.name} are read or refused, in time and memory`, async () => {
    const result = await attack(format, 0, 200);
    assertEquals(result.faults, []);
    // A campaign that is refused everywhere, or nowhere, attacks nothing.
    assert(result.accepted > 0 && result.refused > 0, JSON.stringify(result));
  });
}
