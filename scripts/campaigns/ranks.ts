/**
 * Training over a wire between network namespaces, and its faults: `deno task campaign:ranks [COUNT]
 * [--seed N] [--only NUMBER]`.
 *
 * Ranks are killed and stopped, cables are pulled and put back, packets are lost: while graft starts, plans,
 * takes steps, saves and evaluates. Each job must end in time and say what is lost, or go on; nothing may
 * be left over or lost; and the run that goes on, with as many ranks or others, must end with the adapter
 * of a run without a fault. Needs root, iproute2 and nftables. COUNT is how many faults, 32 if absent
 * (about half an hour). Prints a line of JSON for each and one for all; ends with 1 where anything went
 * wrong.
 */
import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path";
import { mpiMissing } from "../../tests/helpers/mpi_jobs.ts";
import { wireMissing } from "../../tests/helpers/wire.ts";
import { drawCases, type FaultCase, isSlow } from "./ranks/cases.ts";
import { type CaseResult, runCase, undisturbed } from "./ranks/run_case.ts";
import { writeData } from "./ranks/training.ts";

const flags = parseArgs(Deno.args, {
  string: ["seed", "only"],
  default: { seed: `${Math.floor(Math.random() * 2 ** 31)}` },
});
const [count, seed] = [Number(flags._[0] ?? 32), Number(flags.seed)];
if (!Number.isSafeInteger(count) || count < 1) {
  console.error(`graft: COUNT must be a whole number >= 1: current value is ${flags._[0]}`);
  Deno.exit(2);
}
const missing = mpiMissing() ?? wireMissing();
if (missing !== undefined) {
  console.error(`graft: ${missing}`);
  Deno.exit(69);
}

console.error(`seed ${seed}`);
const root = Deno.makeTempDirSync({ prefix: "graft-ranks-" });
const results: CaseResult[] = [];
try {
  const data = join(root, "data");
  writeData(data);
  const without = await undisturbed(data, root);
  const run = async (one: FaultCase) => {
    const folder = join(root, `case-${one.number}`);
    const result = await runCase(one, { data, folder, without });
    console.log(JSON.stringify(result));
    results.push(result);
    if (result.faults.length === 0) Deno.removeSync(folder, { recursive: true });
  };
  const cases = drawCases(seed, count)
    .filter(({ number }) => flags.only === undefined || number === Number(flags.only));
  // Those that take minutes to be noticed need nothing meanwhile.
  const slow = cases.filter(isSlow).map(run);
  for (const one of cases.filter((one) => !isSlow(one))) await run(one);
  await Promise.all(slow);
  const failures = results.filter(({ faults }) => faults.length > 0).length;
  console.log(JSON.stringify({ seed, faults: results.length, failures, drift: without.drift }));
  if (failures > 0) console.error(`graft: what is left is in ${root}`);
  Deno.exitCode = failures === 0 ? 0 : 1;
} finally {
  if (results.every(({ faults }) => faults.length === 0)) {
    Deno.removeSync(root, { recursive: true });
  }
}
