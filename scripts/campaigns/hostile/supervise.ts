/**
 * Runs mutants in a child that may crash, hang or eat memory: the child is ended when a mutant goes
 * beyond its limits, and another goes on behind that mutant.
 */
import { attackWith, HostileResult, mutantOf, type Outcome } from "./attack.ts";
import { type HostileFormat, type Limits, READING } from "./format.ts";
import { memoryOf, processorMs } from "./process.ts";
import { removeScratch } from "./scratch.ts";

/** A campaign over one format. */
export interface Campaign {
  readonly format: HostileFormat;
  readonly from: number;
  readonly count: number;
  readonly seed: number;
}

/** How often a child is looked at. */
const WATCH_MS = 50;
/** Longest silence of a child: on a busy machine one of low priority waits for the processor for minutes. */
const SILENCE_MS = 600_000;
/** Limits here, as multiples of a mutant's: one that is just over its limit reports itself. */
const PATIENCE = 2;
/** Mutants that one child runs: what the engine keeps of earlier ones is not the next one's fault. */
const PER_CHILD = 1000;

/** The child's side: a line as each mutant begins, and one with its outcome. */
export async function runChild({ format, from, count, seed }: Campaign): Promise<void> {
  await format.prepare?.();
  for (let number = from; number < from + count; number++) {
    const file = mutantOf(format, number, seed);
    console.log(JSON.stringify({ number, sizeBytes: file.byteLength }));
    console.log(JSON.stringify({ number, outcome: await attackWith(format, file) }));
  }
}

interface Begun {
  readonly number: number;
  readonly sizeBytes: number;
  readonly processorMs: number;
  readonly residentBytes: number;
}

type Line =
  | { readonly number: number; readonly sizeBytes: number }
  | { readonly number: number; readonly outcome: Outcome };

/** Runs all mutants of a campaign. `script` is what a child runs; see {@linkcode runChild}. */
export async function supervise(
  campaign: Campaign,
  script: string,
  onFault: (line: string) => void,
): Promise<HostileResult> {
  const { format, from, count, seed } = campaign;
  const result = new HostileResult(format.name, count, seed, onFault);
  const end = from + count;
  for (let next = from; next < end;) {
    const part = { ...campaign, from: next, count: Math.min(PER_CHILD, end - next) };
    const done = await superviseChild(part, script, result);
    if (done === next) break; // it never came to a mutant
    next = done;
  }
  return result;
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch { /* it has ended meanwhile */ }
}

/** What a mutant takes beyond its limits, in words. */
function excess(pid: number, begun: Begun, limits: Limits): string | undefined {
  const ms = processorMs(pid) - begun.processorMs;
  if (ms > PATIENCE * limits.ms) return `still ran after ${ms} ms`;
  const growth = memoryOf(pid).residentBytes - begun.residentBytes - begun.sizeBytes;
  return growth > PATIENCE * limits.growthBytes ? `memory grew by ${growth} bytes` : undefined;
}

/** @returns the first mutant that is still to be run */
async function superviseChild(
  { format, from, count, seed }: Campaign,
  script: string,
  result: HostileResult,
): Promise<number> {
  const limits = format.limits ?? READING;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", script, "--child", format.name],
      ...[`--from=${from}`, `--count=${count}`, `--seed=${seed}`],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let begun: Begun | undefined;
  let heardAt = performance.now();
  let next = from;
  let killed: string | undefined;
  const watch = setInterval(() => {
    killed ??= performance.now() - heardAt > SILENCE_MS
      ? `said nothing for ${SILENCE_MS} ms`
      : begun && excess(child.pid, begun, limits);
    if (killed !== undefined) kill(child);
  }, WATCH_MS);
  let rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    heardAt = performance.now();
    for (const line of lines) {
      if (!line.startsWith("{")) continue;
      const said: Line = JSON.parse(line);
      if ("outcome" in said) {
        result.add(said.number, said.outcome);
        next = said.number + 1;
        begun = undefined;
      } else {
        const { residentBytes } = memoryOf(child.pid);
        begun = { ...said, residentBytes, processorMs: processorMs(child.pid) };
      }
    }
  }
  clearInterval(watch);
  const { success, signal, code } = await child.status;
  removeScratch(child.pid);
  if (success && killed === undefined) return next;
  result.fault(next, killed ?? `ended the process with ${signal ?? `exit code ${code}`}`);
  return begun === undefined ? next : next + 1;
}
