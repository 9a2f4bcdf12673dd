import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { activationCase } from "../../scripts/campaigns/power/cases/activations.ts";
import { checkpointCase } from "../../scripts/campaigns/power/cases/checkpoints.ts";
import { modelCase } from "../../scripts/campaigns/power/cases/models.ts";
import { pullCases } from "../../scripts/campaigns/power/cases/pulls.ts";
import { removalCase } from "../../scripts/campaigns/power/cases/removals.ts";
import { roundsCase } from "../../scripts/campaigns/power/cases/rounds.ts";
import { saveCase } from "../../scripts/campaigns/power/cases/saves.ts";
import { type PowerCase, replay } from "../../scripts/campaigns/power/replay.ts";
import { writeModelOf } from "../../scripts/campaigns/power/staged_child.ts";
import { withEnvironment } from "../helpers/environment.ts";
import { FakeHub } from "../helpers/fake_hub.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const WRITER = fromFileUrl(
  new URL("../../scripts/campaigns/power/staged_child.ts", import.meta.url),
);
const written = {
  target: "new/folder/merged",
  words: (target: string) => [Deno.execPath(), "run", "-A", "--no-check", WRITER, target, "new"],
  done: /saved/,
};

// PROMISES 4: a share of the states, and of the runs; scripts/campaigns/power.ts has all of them.
const CASES: readonly (readonly [title: string, one: PowerCase])[] = [
  [
    "CheckpointDirectory after a power loss has what was saved, whole",
    checkpointCase("checkpoints", { steps: 8, saveEvery: 2 }),
  ],
  ["ActivationFile after a power loss has what was synced", activationCase()],
  ["removeDirectory() after a power loss leaves all of the folder or nothing", removalCase()],
  ["saveAdapter() after a power loss leaves the older adapter or the new one", saveCase()],
  [
    "StagedDirectory after a power loss leaves nothing or the whole model, subfolders included",
    modelCase("model", written),
  ],
  [
    "StagedDirectory after a power loss leaves the older model or the whole new one",
    modelCase("model in the place of another", {
      ...written,
      old: (target) => writeModelOf("old", target),
    }),
  ],
  [
    "ServiceState after a power loss answers with a whole model, and the next round goes on",
    roundsCase(),
  ],
];

for (const [title, one] of CASES) {
  testWithTool("strace", title, async () => {
    const { states, faults } = await replay(one, { seed: 1, random: 3, alone: 4, most: 150 });
    assertEquals(faults, []);
    assert(states >= 40, `there were only ${states} states`);
  });
}

testWithTool(
  "strace",
  "graft pull after a power loss shows nothing or the whole model, and the next pull makes it so",
  () =>
    inTempDir((work) =>
      // The pulls that mend it set it to the cache of each state.
      withEnvironment({ HF_HUB_CACHE: work }, async () => {
        await using hub = new FakeHub();
        // The files of a folder are copied as a hub's are downloaded.
        for (const one of pullCases(work, hub).slice(1)) {
          const { states, faults } = await replay(one, { seed: 1, random: 3, alone: 4, most: 40 });
          assertEquals(faults, []);
          assert(states >= 40, `there were only ${states} states`);
        }
      })
    ),
);
