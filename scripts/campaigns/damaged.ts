/**
 * Each file that a service keeps is damaged in each way, one at a time: the service answers all the same,
 * with the model before if need be, and no request and no verb ends in an error of graft's own.
 *
 * usage: deno task campaign:damaged [SHARE]  (default: 1)
 */
import { join } from "@std/path";
import { DAMAGES, regularFilesIn } from "./damaged/damages.ts";
import { faultsOf, roundOver } from "./damaged/faults.ts";
import { fillFolders } from "./damaged/service_folders.ts";

const [given = "1"] = Deno.args;
const share = Number(given);
if (!(share > 0 && share <= 1)) {
  console.error(`graft: SHARE must be > 0 and <= 1: current value is ${given}`);
  Deno.exit(2);
}

const work = await Deno.makeTempDir({ prefix: "graft-damaged-" });
const [whole, root] = ["whole", "root"].map((name) => join(work, name));
let [cases, failures] = [0, 0];
/** Rounds by the exit code that they ended with. */
const rounds = new Map<number, number>();
try {
  // Paths are part of what is kept.
  await fillFolders(root);
  Deno.renameSync(root, whole);
  const files = regularFilesIn(whole).filter((path) => !path.startsWith("data/"));
  const all = Object.keys(DAMAGES).flatMap((damage) => files.map((path) => ({ damage, path })));
  const isTaken = (_: unknown, i: number) => Math.floor((i + 1) * share) > Math.floor(i * share);
  for (const { damage, path } of all.filter(isTaken)) {
    await new Deno.Command("cp", { args: ["-a", whole, root] }).output();
    DAMAGES[damage](join(root, path));
    const faults = await faultsOf(root);
    const round = await roundOver(root);
    faults.push(...round.faults);
    rounds.set(round.code, (rounds.get(round.code) ?? 0) + 1);
    await Deno.remove(root, { recursive: true });
    cases++;
    if (faults.length === 0) continue;
    failures++;
    console.log(JSON.stringify({ path, damage, faults }));
  }
} finally {
  await Deno.remove(work, { recursive: true });
}
console.log(JSON.stringify({ cases, failures, rounds: Object.fromEntries(rounds) }));
Deno.exitCode = failures === 0 ? 0 : 1;
