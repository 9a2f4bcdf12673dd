/**
 * PROMISES 4 (the everyday tests run a share): `deno run -A scripts/campaigns/power.ts [SHARE] [NAME…]`.
 *
 * Records runs that write what must not be lost, and puts on the disk what a power loss at any moment
 * would leave of it: everything that was synced, and of the rest all, nothing, or a choice. SHARE is
 * how much of the states to look at, 1 if absent (about half an hour); NAMEs choose cases whose names
 * have one of them. Prints a line of JSON for each case and one for all; ends with 1 where anything
 * went wrong.
 */
import { join } from "@std/path";
import { FakeHub } from "../../tests/helpers/fake_hub.ts";
import { toolMissing } from "../../tests/helpers/requirements.ts";
import { activationCase } from "./power/cases/activations.ts";
import { adapterCase } from "./power/cases/adapters.ts";
import { checkpointCase } from "./power/cases/checkpoints.ts";
import { mergeCases } from "./power/cases/merges.ts";
import { pullCases } from "./power/cases/pulls.ts";
import { removalCase } from "./power/cases/removals.ts";
import { roundsCase } from "./power/cases/rounds.ts";
import { saveCase } from "./power/cases/saves.ts";
import { serviceCase } from "./power/cases/service.ts";
import { storeCase } from "./power/cases/store.ts";
import { replay } from "./power/replay.ts";

/** States of a case at SHARE 1, where there are as many. */
const STATES = 2000;
/** States of which one is gone on with by a process of its own. */
const GO_ON_EVERY = 100;
const SEED = 1;

const missing = toolMissing("strace");
if (missing !== undefined) {
  console.error(`graft: ${missing}: install it, this campaign records by it`);
  Deno.exit(69);
}
const [first, ...rest] = Deno.args;
const hasShare = first !== undefined && !Number.isNaN(Number(first));
const share = hasShare ? Number(first) : 1;
if (!(share > 0 && share <= 1)) {
  console.error(`graft: SHARE must be > 0 and <= 1: current value is ${first}`);
  Deno.exit(2);
}
const names = hasShare ? rest : Deno.args;

const work = await Deno.makeTempDir({ prefix: "graft-power-" });
await using hub = new FakeHub();
const cases = [
  checkpointCase("checkpoints", { steps: 12, saveEvery: 2, resumeEvery: GO_ON_EVERY }),
  checkpointCase("checkpoints of a resume", {
    steps: 12,
    saveEvery: 2,
    before: 4,
    resumeEvery: GO_ON_EVERY,
  }),
  saveCase(),
  activationCase(),
  adapterCase(join(work, "train"), GO_ON_EVERY),
  ...mergeCases(join(work, "base")),
  ...pullCases(join(work, "pull"), hub),
  removalCase(),
  storeCase(),
  roundsCase(),
  serviceCase(join(work, "service"), GO_ON_EVERY),
].filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)));

let [states, failures] = [0, 0];
try {
  for (const one of cases) {
    const done = await replay(one, { seed: SEED, most: Math.ceil(share * STATES) });
    console.log(JSON.stringify(done));
    states += done.states;
    failures += done.failures;
  }
} finally {
  await Deno.remove(work, { recursive: true });
}
console.log(JSON.stringify({ share, seed: SEED, cases: cases.length, states, failures }));
Deno.exitCode = failures === 0 ? 0 : 1;
