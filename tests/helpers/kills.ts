/** Runs `train_child.ts` and kills it: at random moments, or by strace at a chosen system call. */
import { fromFileUrl, join } from "@std/path";
import { CheckpointDirectory } from "../../src/train/checkpoint_files.ts";

const CHILD = fromFileUrl(new URL("./train_child.ts", import.meta.url));

export interface ChildRun {
  readonly lines: readonly string[];
  readonly stderr: string;
  /** Exit code; 128 + signal where one ended it. */
  readonly code: number;
  /** Time from `start` to the end. */
  readonly ms: number;
}

export interface ChildSpec {
  readonly directory: string;
  readonly backend: "host" | "ort";
  readonly steps: number;
  readonly saveEvery: number;
  /** Kills the child this long after it printed `start`. */
  readonly killAfterMs?: number;
  /** A command that runs the child: strace and its arguments. */
  readonly wrapper?: readonly string[];
}

/** The child's command line. */
export function childWords({ directory, backend, steps, saveEvery }: ChildSpec): string[] {
  return [
    ...[Deno.execPath(), "run", "-A", "--no-check", CHILD],
    ...[directory, backend, String(steps), String(saveEvery)],
  ];
}

export async function runChild(spec: ChildSpec): Promise<ChildRun> {
  const { killAfterMs, wrapper = [] } = spec;
  const [command, ...args] = [...wrapper, ...childWords(spec)];
  const child = new Deno.Command(command, { args, stdout: "piped", stderr: "piped" }).spawn();
  const stderr = new Response(child.stderr).text();
  let text = "";
  let startedAt = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (startedAt > 0 || !text.includes("start\n")) continue;
    startedAt = performance.now();
    if (killAfterMs !== undefined) {
      timer = setTimeout(() => {
        try {
          child.kill("SIGKILL");
        } catch {
          // it has ended by itself
        }
      }, killAfterMs);
    }
  }
  const ms = performance.now() - startedAt;
  const { code } = await child.status;
  clearTimeout(timer);
  const complete = text.slice(0, text.lastIndexOf("\n") + 1);
  return { lines: complete.split("\n").slice(0, -1), stderr: await stderr, code, ms };
}

/** The last number the child printed after `word`, 0 where it printed none. */
export function lastOf(run: ChildRun, word: "step" | "saved"): number {
  const found = run.lines.findLast((line) => line.startsWith(`${word} `));
  return found === undefined ? 0 : Number(found.split(" ")[1]);
}

/** The digest a finished child printed. */
export function digestOf(run: ChildRun): string {
  const line = run.lines.at(-1) ?? "";
  if (!line.startsWith("done ")) {
    throw new Error(
      `The child did not finish (code ${run.code}): ${run.stderr}${run.lines.at(-1)}`,
    );
  }
  return line.slice("done ".length);
}

/**
 * What must hold after any kill: the newest checkpoint loads, nothing that was reported as saved is
 * lost, and at most `saveEvery` steps are.
 *
 * @returns what is wrong, `undefined` if nothing is
 */
export function faultAfterKill(run: ChildRun, spec: ChildSpec): string | undefined {
  const warnings: string[] = [];
  const found = new CheckpointDirectory(spec.directory, { seed: 1 }).load((message) =>
    warnings.push(message)
  );
  const step = found?.checkpoint.state.step ?? 0;
  if (warnings.length > 0) return `torn: ${warnings.join("; ")}`;
  if (step < lastOf(run, "saved")) return `saved ${lastOf(run, "saved")}, found ${step}`;
  if (lastOf(run, "step") - step > spec.saveEvery) {
    return `did ${lastOf(run, "step")}, found ${step}: more than ${spec.saveEvery} steps lost`;
  }
  return undefined;
}

export interface RandomKills {
  readonly kills: number;
  /** Everything that went wrong, one line each. */
  readonly faults: readonly string[];
  /** Runs that ended with the straight run's digest, of all runs. */
  readonly equal: number;
  readonly runs: number;
}

/**
 * Runs that are each killed up to `killsPerRun` times at random moments, then resumed to the end;
 * each must end with exactly the bytes of a run that was never killed.
 *
 * @param options.runs least number of runs; there are more until `kills` kills came in time
 */
export async function killAtRandom(
  options: Pick<ChildSpec, "backend" | "steps" | "saveEvery"> & {
    readonly runs: number;
    readonly kills: number;
    readonly killsPerRun: number;
  },
): Promise<RandomKills> {
  const root = await Deno.makeTempDir({ prefix: "graft-kills-" });
  try {
    const straight = await runChild({ ...options, directory: join(root, "straight") });
    const expected = digestOf(straight);
    let [runs, kills, equal] = [0, 0, 0];
    const faults: string[] = [];
    while (runs < options.runs || kills < options.kills) {
      const r = runs++;
      const spec = { ...options, directory: join(root, `run-${r}`) };
      let finished: ChildRun | undefined;
      for (let k = 0; k < options.killsPerRun && finished === undefined; k++) {
        // Within the first part of what is left, so that the later kills find something to hit.
        const killAfterMs = Math.random() * straight.ms / options.killsPerRun;
        const run = await runChild({ ...spec, killAfterMs });
        if (run.code === 0) finished = run;
        else kills++;
        const fault = faultAfterKill(run, spec);
        if (fault !== undefined) faults.push(`run ${r}, kill ${k}: ${fault}`);
      }
      finished ??= await runChild(spec);
      if (digestOf(finished) === expected) equal++;
      else faults.push(`run ${r}: ${digestOf(finished)} instead of ${expected}`);
    }
    return { kills, faults, equal, runs };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}
