import { assert, assertEquals } from "@std/assert";
import { testWithTool } from "../helpers/requirements.ts";
import { injectFaults } from "../helpers/strace.ts";

// PROMISES 1 and 3: a share of the points; scripts/campaigns/kill.ts goes through all of them.
testWithTool(
  "strace",
  "checkpoints survive kills and disk errors at their writes, fsyncs and renames",
  async () => {
    const { injected, faults } = await injectFaults(5);
    assertEquals(faults, []);
    assert(injected >= 10, `only ${injected} faults were injected`);
  },
);
