import { assert, assertEquals } from "@std/assert";
import { endPulls } from "../helpers/ended_pulls.ts";

// PROMISES 17 under kills, a share of the points; scripts/campaigns/kill.ts goes through all of them.
for (const source of ["folder", "tar", "hub"] as const) {
  Deno.test(`graft pull from a ${source}, ended at any point, shows nothing torn and is finished by the next`, async () => {
    const { ended, faults } = await endPulls(source, 4);
    assertEquals(faults, []);
    assert(ended >= 18, `only ${ended} were ended`);
  });
}
