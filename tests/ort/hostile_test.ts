// PROMISES 6 at a hundredth of its counts; `deno task campaign:hostile` runs all of them in a child.
import { assert, assertEquals } from "@std/assert";
import { attack } from "../../scripts/campaigns/hostile/attack.ts";
import { RUNNING } from "../../scripts/campaigns/hostile/format.ts";
import { FORMATS } from "../../scripts/campaigns/hostile/registry.ts";

for (const format of FORMATS) {
  Deno.test(`mutants of ${format.name} are read or refused, in time and memory`, async () => {
    // What is planned with and run takes longer.
    const result = await attack(format, format.limits === RUNNING ? 20 : 200, 0);
    assertEquals(result.faults, []);
    // A campaign that is refused everywhere, or nowhere, attacks nothing.
    assert(result.accepted > 0 && result.refused > 0, JSON.stringify(result));
  });
}
