/**
 * PROMISES 6 at its full count: `deno task campaign:hostile [FORMAT…] [--count N]`.
 *
 * Each format's mutants run in a child, so that a crash is seen; the child is started anew behind
 * a mutant that killed it. Prints one JSON object a format and ends with 1 for a broken promise.
 */
import { parseArgs } from "@std/cli/parse-args";
import { attack, FORMATS, type HostileResult, noMutants } from "../../tests/helpers/hostile.ts";

/** Longest silence of a child; a mutant may take two seconds, and reading the seeds takes some. */
const SILENCE_MS = 30_000;

const flags = parseArgs(Deno.args, { string: ["count", "child", "from"] });
const count = Number(flags.count ?? 20_000);
if (!Number.isSafeInteger(count) || count < 1) {
  console.error(`graft: --count must be a whole number >= 1: current value is ${flags.count}`);
  Deno.exit(2);
}

/** The child's side: a line with each mutant's number before it runs, then the result. */
async function child(name: string, from: number): Promise<void> {
  const format = FORMATS.find((format) => format.name === name)!;
  const result = await attack(format, from, count, (number) => console.log(number));
  console.log(JSON.stringify(result));
}

/** Runs mutants in one child until it ends; what it said last. */
async function runChild(name: string, from: number, count: number) {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      import.meta.filename!,
      "--child",
      name,
      `--from=${from}`,
      `--count=${count}`,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let last = "";
  let silence: ReturnType<typeof setTimeout> | undefined;
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => process.kill("SIGKILL"), SILENCE_MS);
  };
  listen();
  let rest = "";
  for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
    listen();
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    last = lines.at(-1) ?? last;
  }
  clearTimeout(silence);
  return { last, status: await process.status };
}

function added(sum: HostileResult, part: HostileResult): void {
  sum.accepted += part.accepted;
  sum.refused += part.refused;
  sum.slowestMs = Math.max(sum.slowestMs, part.slowestMs);
  sum.mostGrowthBytes = Math.max(sum.mostGrowthBytes, part.mostGrowthBytes);
  sum.faults.push(...part.faults);
}

async function campaign(name: string): Promise<HostileResult> {
  const sum = noMutants(name, count);
  for (let from = 0; from < count;) {
    const { last, status } = await runChild(name, from, count - from);
    if (status.success) {
      added(sum, JSON.parse(last));
      break;
    }
    const killer = Number(last);
    const end = status.signal ?? `exit code ${status.code}`;
    sum.faults.push(`${name} ${killer}: ended the process with ${end}`);
    if (!(killer >= from)) break; // it never came to a mutant
    from = killer + 1;
  }
  return sum;
}

if (flags.child !== undefined) {
  await child(flags.child, Number(flags.from));
} else {
  const names = FORMATS.map(({ name }) => name);
  const wanted: string[] = flags._.map(String);
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    console.error(`graft: unknown format "${unknown}": choose from ${names.join(", ")}`);
    Deno.exit(2);
  }
  let sound = true;
  for (const name of wanted.length > 0 ? wanted : names) {
    const result = await campaign(name);
    console.log(JSON.stringify(result));
    sound &&= result.faults.length === 0;
  }
  Deno.exit(sound ? 0 : 1);
}
