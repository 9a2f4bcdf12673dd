import { assert, assertEquals } from "@std/assert";
import { endPulls } from "../helpers/ended_pulls.ts";
import { killPulls } from "../helpers/pull_kills.ts";

// PROMISES 17 under kills, a share of them; scripts/campaigns/kill.ts goes through all.
for (const source of ["folder", "tar", "hub"] as const) {
  Deno.test(`graft pull from a ${source}, ended at any point, shows nothing torn and is finished by the next`, async () => {
    const { ended, faults } = await endPulls(source, 6);
    assertEquals(faults, []);
    assert(ended >= 12, `only ${ended} were ended`);
  });
}

Deno.test("graft pull killed at random moments shows nothing torn and is finished by the next", async () => {
  for (const source of ["folder", "tar", "hub"] as const) {
    assertEquals(await killPulls(source, 1), { kills: 1, faults: [] });
  }
});
