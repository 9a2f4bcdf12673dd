/**
 * PROMISES 6 at its full count: `deno task campaign:hostile [FORMAT…] [--count N] [--seed N]`.
 *
 * Each format's mutants run in children with limits of time and memory. Prints faults as they are
 * found and one JSON object a format; ends with 1 for a broken promise. `--only NUMBER` runs one
 * mutant in this process, and `--save PATH` writes it down.
 */
import { parseArgs } from "@std/cli/parse-args";
import { attackWith, mutantOf } from "./hostile/attack.ts";
import type { HostileFormat } from "./hostile/format.ts";
import { FORMATS } from "./hostile/registry.ts";
import { runChild, supervise } from "./hostile/supervise.ts";

const flags = parseArgs(Deno.args, {
  string: ["count", "child", "from", "seed", "only", "save"],
  default: { count: "20000", from: "0", seed: String(Math.floor(Math.random() * 2 ** 31)) },
});

function usage(message: string): never {
  console.error(`graft: ${message}`);
  Deno.exit(2);
}

function whole(name: "count" | "from" | "seed" | "only", min: number): number {
  const number = Number(flags[name]);
  if (Number.isSafeInteger(number) && number >= min) return number;
  return usage(`--${name} must be a whole number >= ${min}: current value is ${flags[name]}`);
}

function formatNamed(name: string): HostileFormat {
  const names = FORMATS.map(({ name }) => name).join(", ");
  return FORMATS.find((format) => format.name === name) ??
    usage(`unknown format "${name}": choose from ${names}`);
}

async function runOne(format: HostileFormat, number: number, seed: number): Promise<boolean> {
  const file = mutantOf(format, number, seed);
  if (flags.save !== undefined) Deno.writeFileSync(flags.save, file);
  await format.prepare?.();
  const outcome = await attackWith(format, file);
  console.log(JSON.stringify(outcome, null, 2));
  return outcome.faults.length === 0;
}

const [from, count, seed] = [whole("from", 0), whole("count", 1), whole("seed", 0)];
if (flags.child !== undefined) {
  await runChild({ format: formatNamed(flags.child), from, count, seed });
  Deno.exit(0);
}
const wanted = flags._.length > 0 ? flags._.map(String).map(formatNamed) : FORMATS;
let sound = true;
if (flags.only !== undefined) {
  for (const format of wanted) sound = await runOne(format, whole("only", 0), seed) && sound;
} else {
  console.error(`seed ${seed}`);
  for (const format of wanted) {
    const campaign = { format, from, count, seed };
    const result = await supervise(campaign, import.meta.filename!, (line) => console.error(line));
    console.log(JSON.stringify(result));
    sound &&= result.faults.length === 0;
  }
}
Deno.exit(sound ? 0 : 1);
