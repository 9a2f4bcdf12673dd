/**
 * PROMISES 1, 2 and 3 at their full counts (the everyday tests run a share):
 * `deno run -A scripts/campaigns/kill.ts`. Takes about ten minutes; prints one JSON object.
 */
import { killAtRandom } from "../../tests/helpers/kills.ts";
import { toolMissing } from "../../tests/helpers/requirements.ts";
import { injectFaults } from "../../tests/helpers/strace.ts";

const missing = toolMissing("strace");
if (missing !== undefined) {
  console.error(`graft: ${missing}: install it, most of this campaign is injected by it`);
  Deno.exit(69);
}
const base = { steps: 100, saveEvery: 4 };
const random = await killAtRandom({
  ...base,
  backend: "host",
  runs: 20,
  kills: 200,
  killsPerRun: 10,
});
const resumed = await killAtRandom({
  ...base,
  backend: "ort",
  runs: 20,
  kills: 20,
  killsPerRun: 3,
});
const injected = await injectFaults(1);
console.log(JSON.stringify({ random, resumed, injected }, null, 2));
const sound = [random, resumed, injected].every(({ faults }) => faults.length === 0);
Deno.exit(sound ? 0 : 1);
