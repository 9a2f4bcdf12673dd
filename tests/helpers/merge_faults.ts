/** Faults injected by strace at the n-th system call of a merge that replaces an older one. */
import { join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import { clearLeftovers, replacedPath, unfinishedPath } from "../../src/model/leftovers.ts";
import { modelDir, referenceDir } from "./fixture_models.ts";
import { graft, graftUnder } from "./graft.ts";
import { SIGNALLING_STRACE, STRACE } from "./strace_command.ts";
import { sha256 } from "./training_runs.ts";

const ADAPTER = `${referenceDir("tiny-llama-int4.all")}/adapter_after_10_steps`;
const CALLS = ["mkdir", "copy_file_range", "write", "fsync", "rename"] as const;
type Call = typeof CALLS[number];

/** What is injected at which calls; an error is one that the call can give. */
const FAULTS: Readonly<Record<string, readonly Call[]>> = {
  "error=ENOSPC": ["mkdir", "copy_file_range", "write"],
  "error=EIO": ["copy_file_range", "write", "fsync", "rename"],
  "signal=INT": ["write"],
  "signal=TERM": ["write"],
  "signal=KILL": CALLS,
};

interface Injection {
  readonly call: Call;
  readonly fault: string;
  /** Which of the calls, counted from 1. */
  readonly when: number;
}

function mergeArgs(target: string, weight: number): string[] {
  return [
    ...["merge", "--model", modelDir("tiny-llama-genai-int4"), "--adapter-path", ADAPTER],
    ...[
      "--save-path",
      target,
      "--method",
      "nearest",
      "--adapter-weights",
      `${weight}`,
      "--force",
      "--threads=1",
    ],
  ];
}

async function traced(directory: string, files: readonly string[], injection?: Injection) {
  const target = join(directory, "merged");
  const unfinished = unfinishedPath(target, "nearest", 1);
  const log = `${directory}.strace`;
  const paths = [
    ...[directory, target, unfinished, replacedPath(target)],
    ...files.map((name) => join(unfinished, name)),
  ];
  const { call, fault, when } = injection ?? {};
  const run = await graftUnder([
    ...[
      ...(fault?.startsWith("signal") ? SIGNALLING_STRACE : STRACE),
      "-o",
      log,
      ...paths.flatMap((path) => ["-P", path]),
    ],
    ...["-e", `trace=${CALLS.join()}`],
    ...injection === undefined ? [] : ["-e", `inject=${call}:${fault}:when=${when}`],
  ], ...mergeArgs(target, 1));
  return { ...run, log: await Deno.readTextFile(log) };
}

const names = (directory: string) => [...Deno.readDirSync(directory)].map(({ name }) => name);

/** A folder's files and their digests, as one text. */
async function contentOf(directory: string): Promise<string> {
  const lines = names(directory).sort().map(async (name) =>
    `${name} ${await sha256(join(directory, name))}`
  );
  return (await Promise.all(lines)).join("\n");
}

/** The model that is there before the fault, and the one that the merge would leave. */
interface Models {
  readonly old: string;
  readonly oldContent: string;
  readonly newContent: string;
}

/** What one fault must leave behind; returns what is wrong, `undefined` if nothing is. */
async function faultAfter(
  injection: Injection,
  directory: string,
  { old, oldContent, newContent }: Models,
): Promise<string | undefined> {
  const target = join(directory, "merged");
  Deno.mkdirSync(target, { recursive: true });
  for (const name of names(old)) Deno.copyFileSync(join(old, name), join(target, name));
  const run = await traced(
    directory,
    newContent.split("\n").map((l) => l.split(" ")[0]),
    injection,
  );
  const killed = injection.fault === "signal=KILL";
  if (killed) clearLeftovers(directory); // as the next merge does
  if (names(directory).join() !== "merged") return `left over: ${names(directory)}`;
  const content = await contentOf(target);
  if (content !== oldContent && content !== newContent) return `a torn model: ${content}`;
  if (killed) return /killed by SIGKILL/.test(run.log) ? undefined : "it was not killed";
  if (injection.fault.startsWith("signal")) {
    // A signal at the last writes comes too late, and then everything is there.
    const expected = content === oldContent ? EXIT.interrupted : EXIT.ok;
    return run.code === expected ? undefined : `exit code ${run.code}: ${run.stderr}`;
  }
  if (!run.log.includes("(INJECTED)")) return "the fault was not injected";
  // Where the folder is there already, that it cannot be made is no fault; some Denos try.
  if (injection.call === "mkdir" && content === newContent && run.code === EXIT.ok) {
    return undefined;
  }
  if (content !== oldContent) return "the older model is gone";
  if (run.code !== EXIT.io) return `exit code ${run.code}: ${run.stderr}`;
  const why = injection.fault.endsWith("EIO") ? "Input/output error" : "No space left on device";
  return run.stderr.includes(why) && run.stderr.includes(directory)
    ? undefined
    : `path or reason is not named: ${run.stderr}`;
}

/**
 * Injects disk errors, signals and kills into `graft merge --force` over an older merged model; of
 * all that there are, every `stride`-th.
 *
 * @returns how many faults were injected, and what went wrong, one line each
 */
export async function injectMergeFaults(
  stride: number,
): Promise<{ readonly injected: number; readonly faults: readonly string[] }> {
  const root = await Deno.makeTempDir({ prefix: "graft-merge-faults-" });
  try {
    const old = join(root, "old");
    const first = await graft(...mergeArgs(old, 2));
    if (first.code !== EXIT.ok) throw new Error(first.stderr);
    const straight = join(root, "straight");
    Deno.mkdirSync(join(straight, "merged"), { recursive: true });
    const { log, code, stderr } = await traced(straight, names(old));
    if (code !== EXIT.ok) throw new Error(stderr);
    const models = {
      old,
      oldContent: await contentOf(old),
      newContent: await contentOf(join(straight, "merged")),
    };
    const count = (call: Call) => log.split("\n").filter((l) => l.includes(` ${call}(`)).length;
    const points = Object.entries(FAULTS).flatMap(([fault, calls]) =>
      calls.flatMap((call) =>
        Array.from({ length: count(call) }, (_, i): Injection => ({ call, fault, when: i + 1 }))
      )
    );
    const chosen = points.filter((_, i) => i % stride === 0);
    const faults: string[] = [];
    for (const [i, injection] of chosen.entries()) {
      const fault = await faultAfter(injection, join(root, `run-${i}`), models);
      const { call, fault: kind, when } = injection;
      if (fault !== undefined) faults.push(`${kind} at ${call} ${when}: ${fault}`);
    }
    return { injected: chosen.length, faults };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}
