import { assert, assertEquals } from "@std/assert";
import { BLOCK, Disk, type Kept } from "../../scripts/campaigns/power/disk.ts";
import type { Leaf, Node, Operation, Tree } from "../../scripts/campaigns/power/operations.ts";
import { ROOT } from "../../scripts/campaigns/power/operations.ts";
import { crashStates } from "../../scripts/campaigns/power/states.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const keeping = (entry: boolean, size = entry, block = entry): Kept => ({
  entry: () => entry,
  size: () => size,
  block: () => block,
});

/** Paths with the text of files. */
function shown(tree: Tree): Record<string, string> {
  const textOf = (leaf: Leaf) =>
    leaf.type === "file" ? new TextDecoder().decode(leaf.bytes) : leaf.type;
  return Object.fromEntries([...tree].map(([path, leaf]) => [path, textOf(leaf)]));
}

const enter = (node: number, name: string, folder = ROOT): Operation => ({
  kind: "enter",
  at: { folder, name },
  node,
});
const write = (node: number, text: string, offset = 0): Operation => ({
  kind: "write",
  node,
  offset,
  bytes: bytes(text),
});
const move = (node: number, from: string, to: string): Operation => ({
  kind: "move",
  from: { folder: ROOT, name: from },
  to: { folder: ROOT, name: to },
  node,
});
const sync = (node?: number): Operation => ({ kind: "sync", node });
const [FILE, OLD, FOLDER] = [1, 2, 3];

function recordingOf(operations: readonly Operation[], old?: string) {
  const nodes = new Map<number, Node>([
    [ROOT, { type: "folder" }],
    [FILE, { type: "file" }],
    [OLD, { type: "file" }],
    [FOLDER, { type: "folder" }],
  ]);
  const entries = old === undefined ? [] : [{ at: { folder: ROOT, name: "file" }, node: OLD }];
  const contents = new Map(old === undefined ? [] : [[OLD, bytes(old)] as const]);
  return { nodes, before: { entries, contents }, operations };
}

Deno.test("Disk.after() loses a synced file with its name, until the folder is synced", () => {
  const disk = new Disk(
    recordingOf([enter(FILE, "file"), write(FILE, "new"), sync(FILE), sync(ROOT)]),
  );
  assertEquals(shown(disk.after(3, keeping(false))), {});
  assertEquals(shown(disk.after(3, keeping(true))), { file: "new" });
  assertEquals(shown(disk.after(4, keeping(false))), { file: "new" });
  assertEquals(disk.unsynced(3), [0]);
  assertEquals(disk.unsynced(4), []);
});

Deno.test("Disk.after() loses what is synced in a folder whose own name is not", () => {
  const disk = new Disk(recordingOf([
    enter(FOLDER, "folder"),
    enter(FILE, "file", FOLDER),
    write(FILE, "new"),
    sync(FILE),
    sync(FOLDER),
    sync(ROOT),
  ]));
  assertEquals(shown(disk.after(5, keeping(false))), {});
  assertEquals(shown(disk.after(6, keeping(false))), { folder: "folder", "folder/file": "new" });
});

Deno.test("Disk.after() finds nothing, zeros or the content in a file that was renamed unsynced", () => {
  const disk = new Disk(
    recordingOf(
      [enter(FILE, "new"), write(FILE, "abc"), move(FILE, "new", "file"), sync(ROOT)],
      "old",
    ),
  );
  assertEquals(shown(disk.after(4, keeping(false))), { file: "" });
  assertEquals(shown(disk.after(4, keeping(false, true, false))), { file: "\0\0\0" });
  assertEquals(shown(disk.after(4, keeping(true))), { file: "abc" });
  assertEquals(shown(disk.after(3, keeping(false))), { file: "old" });
});

Deno.test("Disk.after() makes a move whole or not at all, and keeps it by either folder's sync", () => {
  const into: Operation = {
    kind: "move",
    from: { folder: ROOT, name: "file" },
    to: { folder: FOLDER, name: "there" },
    node: OLD,
  };
  const operations = [enter(FOLDER, "folder"), sync(ROOT), into];
  const disk = new Disk(recordingOf([...operations, sync(FOLDER)], "old"));
  assertEquals(shown(disk.after(3, keeping(false))), { file: "old", folder: "folder" });
  const moved = { folder: "folder", "folder/there": "old" };
  assertEquals(shown(disk.after(3, keeping(true))), moved);
  assertEquals(shown(disk.after(4, keeping(false))), moved);
});

Deno.test("Disk.after() keeps blocks of a write one by one, and cuts what is shorter", () => {
  const long = "a".repeat(BLOCK) + "b".repeat(BLOCK) + "c";
  const disk = new Disk(recordingOf([
    { kind: "resize", node: OLD, sizeBytes: 0 },
    write(OLD, long),
    { kind: "resize", node: OLD, sizeBytes: 4 },
  ], "older"));
  const second: Kept = { ...keeping(true), block: (_, block) => block === 1 };
  assertEquals(
    shown(disk.after(2, second)).file,
    "\0".repeat(BLOCK) + "b".repeat(BLOCK) + "\0",
  );
  assertEquals(shown(disk.after(3, keeping(true))).file, "aaaa");
  assertEquals(shown(disk.after(3, keeping(false))).file, "older");
});

Deno.test("Disk.after() leaves a name to the node that has it where a change between is lost", () => {
  const leave: Operation = { kind: "leave", at: { folder: ROOT, name: "file" }, node: FILE };
  const disk = new Disk(
    recordingOf([enter(FILE, "new"), write(FILE, "abc"), move(FILE, "new", "file"), leave], "old"),
  );
  const lost: Kept = { ...keeping(true), entry: (operation) => operation !== 2 };
  assertEquals(shown(disk.after(4, lost)), { file: "old", new: "abc" });
});

Deno.test("crashStates() finds the torn file of a rename before its sync, and none after one", () => {
  const statesOf = (...operations: readonly Operation[]) =>
    [...crashStates(recordingOf(operations, "old"), { seed: 1 })].map(({ tree }) =>
      shown(tree).file
    );
  const before = [enter(FILE, "new"), write(FILE, "abc")];
  const replace = [move(FILE, "new", "file"), sync(ROOT)];
  assertEquals(new Set(statesOf(...before, ...replace)), new Set(["old", "", "\0\0\0", "abc"]));
  assertEquals(new Set(statesOf(...before, sync(FILE), ...replace)), new Set(["old", "abc"]));
});

Deno.test("crashStates() gives each state once, the same for a seed, with the lines told by then", () => {
  const operations = [
    enter(FILE, "new"),
    write(FILE, "x".repeat(5 * BLOCK)),
    { kind: "say", text: "half a line" },
    sync(FILE),
    { kind: "say", text: ", whole\nmore" },
  ] satisfies Operation[];
  const keysOf = (seed: number) =>
    [...crashStates(recordingOf(operations), { seed })].map(({ tree, said }) =>
      JSON.stringify([shown(tree), said])
    );
  const keys = keysOf(1);
  assertEquals(new Set(keys).size, keys.length);
  assertEquals(keysOf(1), keys);
  assert(keysOf(2).join() !== keys.join());
  assert(keys.includes('[{},["half a line, whole"]]'), keys.join("\n"));
});
