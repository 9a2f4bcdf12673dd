import { assertEquals, assertThrows } from "@std/assert";
import { Disk } from "../../scripts/campaigns/power/disk.ts";
import { Follower } from "../../scripts/campaigns/power/follow.ts";
import { LiveTree } from "../../scripts/campaigns/power/live_tree.ts";
import type { Node, Tree } from "../../scripts/campaigns/power/operations.ts";
import { callsOf } from "../../scripts/campaigns/power/trace.ts";

const ALL = { entry: () => true, size: () => true, block: () => true };
const hex = (text: string) =>
  [...new TextEncoder().encode(text)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`)
    .join("");

/** Lines as `strace -f -y -xx` writes them, from lines with plain `"strings"` and `<paths>`. */
function linesOf(...lines: readonly string[]): string[] {
  return lines.map((line) =>
    line.replace(/"([^"]*)"/g, (_, text) => `"${hex(text)}"`)
      .replace(/<(\/[^>]*)>/g, (_, path) => `<${hex(path)}>`)
  );
}

/** What a trace makes of `/r`, which begins with these files. */
function after(files: Readonly<Record<string, string>>, ...lines: readonly string[]) {
  const found = Object.entries(files).map(([path, text]) => ({
    path,
    node: { type: "file" } as Node,
    bytes: new TextEncoder().encode(text),
  }));
  const follower = new Follower(new LiveTree("/r", found), {
    root: "/r",
    read: () => new TextEncoder().encode("from elsewhere"),
  });
  for (const call of callsOf(linesOf(...lines))) follower.follow(call);
  const recording = follower.recording();
  const { operations } = recording;
  const tree = shown(new Disk(recording).after(operations.length, ALL));
  return { tree, kinds: operations.map(({ kind }) => kind).join(" ") };
}

function shown(tree: Tree): Record<string, string> {
  return Object.fromEntries(
    tree.entries().map(([path, leaf]) => [
      path,
      leaf.type === "file"
        ? new TextDecoder().decode(leaf.bytes)
        : leaf.type === "link"
        ? `-> ${leaf.target}`
        : "folder",
    ]),
  );
}

Deno.test("Follower takes in a file that is written beside its place, synced and renamed", () => {
  const { tree, kinds } = after(
    { file: "old" },
    '7 openat(AT_FDCWD</>, "/r/new", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 9</r/new>',
    '7 write(9</r/new>, "ab", 2) = 2',
    "7 lseek(9</r/new>, 1, SEEK_SET) = 1",
    '7 write(9</r/new>, "cd", 2) = 2',
    "7 fsync(9</r/new>) = 0",
    '7 rename("/r/new", "/r/file") = 0',
    '7 openat(AT_FDCWD</>, "/r", O_RDONLY|O_CLOEXEC) = 9</r>',
    "7 fsync(9</r>) = 0",
    '7 write(1<pipe:[5]>, "done\n", 5) = 5',
    "7 +++ exited with 0 +++",
  );
  assertEquals(tree, { file: "acd" });
  assertEquals(kinds, "enter write write sync move sync say");
});

Deno.test("Follower takes in folders, links, cuts, appended bytes and removals", () => {
  const { tree } = after(
    { log: "one\n", gone: "x" },
    '7 mkdir("/r/a", 0777) = 0',
    '7 symlink("../log", "/r/a/link") = 0',
    '7 openat(AT_FDCWD</>, "/r/a/link", O_WRONLY|O_APPEND|O_CLOEXEC) = 3</r/log>',
    '8 write(3</r/log>, "two\n", 4) = 4',
    "7 ftruncate(3</r/log>, 6) = 0",
    '7 unlink("/r/gone") = 0',
    '7 unlinkat(5</r>, "nothing", 0) = -1 ENOENT (No such file or directory)',
  );
  assertEquals(tree, { log: "one\ntw", a: "folder", "a/link": "-> ../log" });
});

Deno.test("Follower takes in copies from elsewhere, and calls that another thread's cut in two", () => {
  const { tree, kinds } = after(
    {},
    '7 openat(AT_FDCWD</>, "/r/copy", O_WRONLY|O_CREAT|O_TRUNC, 0100644) = 4</r/copy>',
    "7 copy_file_range(3</elsewhere>, NULL, 4</r/copy>, NULL, 1073741824, 0 <unfinished ...>",
    '8 mkdir("/r/b", 0777 <unfinished ...>',
    "7 <... copy_file_range resumed>) = 14",
    "8 <... mkdir resumed>) = 0",
    "7 copy_file_range(3</elsewhere>, NULL, 4</r/copy>, NULL, 1073741824, 0) = 0",
    "7 fsync(4</r/copy> <unfinished ...>",
    "7 <... fsync resumed>) = ?",
    // A thread that a signal ended in the middle of a call.
    "9 write(3</r/a>, <unfinished ...>",
    "9 <... ??? resumed>) = ?",
  );
  assertEquals(tree, { copy: "from elsewhere", b: "folder" });
  assertEquals(kinds, "enter write enter");
});

Deno.test("Follower refuses what it cannot follow in the folder, and lets it be elsewhere", () => {
  const shared = (path: string) =>
    `7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 4<${path}>, 0) = 0x7f0000000000`;
  assertThrows(
    () => after({ file: "x" }, shared("/r/file")),
    Error,
    "not modelled: mmap of /r/file",
  );
  assertThrows(
    () => after({ file: "x" }, '7 link("/r/file", "/r/other") = 0'),
    Error,
    "not modelled: link of /r/file",
  );
  assertThrows(
    () => after({}, '7 rename("/elsewhere/file", "/r/file") = 0'),
    Error,
    "a move over the folder's border",
  );
  assertEquals(after({}, shared("/elsewhere"), '7 link("/a", "/b") = 0').tree, {});
});

Deno.test("callsOf() refuses a write that strace cut short, and what is no line of its", () => {
  const calls = [...callsOf(linesOf('7 write(1</r/x>, "ab"..., 900) = 900'))];
  assertEquals(calls.length, 1);
  assertThrows(() => after({ x: "" }, '7 write(1</r/x>, "ab"..., 900) = 900'), SyntaxError);
  assertThrows(() => [...callsOf(["strace: no such process"])], SyntaxError, "no line of strace's");
});
