/** Records what a command does to a folder, by strace. */
import { fromFileUrl } from "@std/path";
import { Disk } from "./disk.ts";
import { Follower } from "./follow.ts";
import { readFolder, treeOf } from "./folder.ts";
import { LiveTree } from "./live_tree.ts";
import { digestOfTree, type Recording } from "./operations.ts";
import { CALLS, callsOf } from "./trace.ts";

/** Longest write that is recorded whole. */
const LONGEST_WRITE = 1 << 26;
const ALL = { entry: () => true, size: () => true, block: () => true };

/**
 * Runs a command, which must succeed, and records what it and its children do to a folder.
 *
 * @param root the folder, which is there
 * @param words program and arguments
 * @throws {Error} where the command fails, or where what was recorded does not make the folder what
 *   it has become: something that changes files was then not followed
 */
export async function record(
  root: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Recording> {
  const folder = Deno.realPathSync(root);
  const tree = new LiveTree(folder, readFolder(folder));
  const log = await Deno.makeTempFile({ prefix: "graft-trace-" });
  try {
    const { success, stdout, stderr } = await new Deno.Command("strace", {
      args: [
        ...["-f", "--seccomp-bpf", "-q", "-y", "-xx", "-s", `${LONGEST_WRITE}`],
        ...["-e", "signal=none", "-e", `trace=${CALLS.map((name) => `?${name}`)}`, "-o", log],
        ...words,
      ],
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
    }).output();
    const text = new TextDecoder();
    if (!success) throw new Error(`${words.join(" ")}: ${text.decode(stderr)}`);
    const follower = new Follower(tree, { root: folder, read: Deno.readFileSync });
    const lines = (await Deno.readTextFile(log)).split("\n");
    for (const call of callsOf(lines)) follower.follow(call);
    const recording = follower.recording();
    const end = new Disk(recording).after(recording.operations.length, ALL);
    if (digestOfTree(end) === digestOfTree(treeOf(folder))) return recording;
    throw new Error(
      `What was recorded of ${words.join(" ")} is not what it did:\n${
        differenceOf(digestOfTree(end), digestOfTree(treeOf(folder)))
      }\n${text.decode(stdout)}`,
    );
  } finally {
    await Deno.remove(log);
  }
}

/** The same of a module of graft's own in a process of its own. */
export function recordModule(root: string, module: URL, ...args: string[]): Promise<Recording> {
  const words = [Deno.execPath(), "run", "-A", "--no-check", fromFileUrl(module)];
  return record(root, [...words, ...args]);
}

function differenceOf(recorded: string, real: string): string {
  const [a, b] = [new Set(recorded.split("\n")), new Set(real.split("\n"))];
  return [
    ...a.difference(b).values().map((line) => `recorded: ${line}`),
    ...b.difference(a).values().map((line) => `on the disk: ${line}`),
  ].join("\n");
}
