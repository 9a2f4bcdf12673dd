/**
 * PROMISES 1, 2, 3 and 17 (the everyday tests run a share): `deno run -A scripts/campaigns/kill.ts [SHARE]`.
 *
 * SHARE is how much of the full counts to run, 1 if absent (about a quarter of an hour). Prints one
 * JSON object; ends with 1 where anything went wrong.
 */
import { endPulls } from "../../tests/helpers/ended_pulls.ts";
import { killAtRandom } from "../../tests/helpers/kills.ts";
import { injectMergeFaults } from "../../tests/helpers/merge_faults.ts";
import { killPulls } from "../../tests/helpers/pull_kills.ts";
import { toolMissing } from "../../tests/helpers/requirements.ts";
import { injectFaults } from "../../tests/helpers/strace.ts";

const missing = toolMissing("strace");
if (missing !== undefined) {
  console.error(`graft: ${missing}: install it, most of this campaign is injected by it`);
  Deno.exit(69);
}
const share = Number(Deno.args[0] ?? 1);
if (!(share > 0 && share <= 1)) {
  console.error(`graft: SHARE must be > 0 and <= 1: current value is ${Deno.args[0]}`);
  Deno.exit(2);
}
const of = (count: number) => Math.ceil(count * share);
const stride = Math.floor(1 / share);
const base = { steps: 100, saveEvery: 4 };
const random = await killAtRandom({
  ...base,
  backend: "host",
  runs: of(20),
  kills: of(200),
  killsPerRun: 10,
});
const resumed = await killAtRandom({
  ...base,
  backend: "ort",
  runs: of(20),
  kills: of(20),
  killsPerRun: 3,
});
const injected = await injectFaults(stride);
const merged = await injectMergeFaults(stride);
const pulls: Record<string, { readonly faults: readonly string[] }> = {};
for (const source of ["folder", "tar", "hub"] as const) {
  pulls[`${source}, killed`] = await killPulls(source, of(80));
  pulls[`${source}, ended at a change`] = await endPulls(source, stride);
}
console.log(JSON.stringify({ share, random, resumed, injected, merged, pulls }, null, 2));
const all = [random, resumed, injected, merged, ...Object.values(pulls)];
const sound = all.every(({ faults }) => faults.length === 0);
Deno.exit(sound ? 0 : 1);
