/** Faults injected by strace at the n-th system call that touches a run's checkpoints. */
import { join } from "@std/path";
import { type ChildRun, digestOf, faultAfterKill, lastOf, runChild } from "./kills.ts";
import { SIGNALLING_STRACE, STRACE } from "./strace_command.ts";

const STEPS = 10;
const SAVE_EVERY = 5;
const CALLS = ["write", "fsync", "rename"] as const;
type Call = typeof CALLS[number];

/** A fault to inject. */
interface Injection {
  readonly call: Call;
  readonly fault: "signal=KILL" | "error=EIO" | "error=ENOSPC";
  /** Which of the calls, counted from 1. */
  readonly when: number;
}

/** Every path a run of the child writes, syncs or renames; strace counts only calls on these. */
function touchedPaths(directory: string): string[] {
  const files = ["adapter_model", "optimizer", "previous", "best"].map((name) =>
    `${name}.safetensors`
  );
  const all = [...files, "state.json", "manifest.json"];
  const steps = [SAVE_EVERY, STEPS].flatMap((step) => {
    const name = `step-${String(step).padStart(6, "0")}`;
    const unfinished = `.unfinished-${name}`;
    return [name, unfinished, ...all.map((file) => join(unfinished, file))];
  });
  return [directory, ...[...steps, "latest", ".unfinished-latest"].map((p) => join(directory, p))];
}

async function traced(
  directory: string,
  injection?: Injection,
): Promise<ChildRun & { log: string }> {
  const log = `${directory}.strace`;
  const wrapper = [
    ...(injection?.fault.startsWith("signal") ? SIGNALLING_STRACE : STRACE),
    "-o",
    log,
    ...touchedPaths(directory).flatMap((path) => ["-P", path]),
    "-e",
    `trace=${CALLS.join()}`,
    ...injection === undefined
      ? []
      : ["-e", `inject=${injection.call}:${injection.fault}:when=${injection.when}`],
  ];
  const run = await runChild({
    directory,
    backend: "host",
    steps: STEPS,
    saveEvery: SAVE_EVERY,
    wrapper,
  });
  return { ...run, log: await Deno.readTextFile(log) };
}

/** What one injected fault must leave behind; returns what is wrong, `undefined` if nothing is. */
async function faultAfter(
  injection: Injection,
  directory: string,
  expected: string,
): Promise<string | undefined> {
  const spec = { directory, backend: "host", steps: STEPS, saveEvery: SAVE_EVERY } as const;
  const run = await traced(directory, injection);
  const hit = injection.fault === "signal=KILL" ? /killed by SIGKILL/ : /\(INJECTED\)/;
  if (!hit.test(run.log)) return "the fault was not injected";
  if (injection.fault !== "signal=KILL") {
    if (run.code !== 74) return `exit code ${run.code} instead of 74: ${run.stderr}`;
    if (!run.stderr.includes(directory)) return `the path is not named: ${run.stderr}`;
  }
  const left = faultAfterKill(run, spec);
  if (left !== undefined) return left;
  const resumed = await runChild(spec);
  return digestOf(resumed) === expected
    ? undefined
    : `resumed from ${lastOf(run, "saved")} to another end`;
}

/**
 * Injects a kill at every write, fsync and rename of the checkpoints, EIO at every fsync, ENOSPC at
 * every write; of each kind every `stride`-th.
 *
 * @returns how many faults were injected, and what went wrong, one line each
 */
export async function injectFaults(
  stride: number,
): Promise<{ readonly injected: number; readonly faults: readonly string[] }> {
  const root = await Deno.makeTempDir({ prefix: "graft-faults-" });
  try {
    const straight = await traced(join(root, "straight"));
    const expected = digestOf(straight);
    const count = (call: Call) =>
      straight.log.split("\n").filter((l) => l.includes(` ${call}(`)).length;
    const points: Injection[] = CALLS.flatMap((call) =>
      Array.from(
        { length: count(call) },
        (_, i) => ({ call, fault: "signal=KILL", when: i + 1 }) as const,
      )
    );
    for (let i = 1; i <= count("fsync"); i++) {
      points.push({ call: "fsync", fault: "error=EIO", when: i });
    }
    for (let i = 1; i <= count("write"); i++) {
      points.push({ call: "write", fault: "error=ENOSPC", when: i });
    }
    const chosen = points.filter((_, i) => i % stride === 0);
    const faults: string[] = [];
    for (const [i, injection] of chosen.entries()) {
      const fault = await faultAfter(injection, join(root, `run-${i}`), expected);
      const { call, fault: kind, when } = injection;
      if (fault !== undefined) faults.push(`${kind} at ${call} ${when}: ${fault}`);
    }
    return { injected: chosen.length, faults };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}
