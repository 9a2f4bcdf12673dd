import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { dirname, join } from "@std/path";
import { findLibrary, openLibrary, OrtLoadError } from "../../ffi/mod.ts";
import { fileInMemory, listKernelFolder, readKernelFile } from "../../ffi/libc_files.ts";
import { openPacked } from "../../src/runtime/brought_library.ts";
import { tryLockPath } from "../../src/system/claim.ts";
import { type Packed, unpack, unpackedPath } from "../../src/system/unpack.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

function packedText(text: string, digest = "ab"): Packed & { reads: number } {
  const content = new TextEncoder().encode(text);
  return {
    name: "file",
    sha256: digest.repeat(32),
    sizeBytes: content.length,
    reads: 0,
    read() {
      this.reads++;
      return content;
    },
  };
}

Deno.test("unpack() reads the content once, and again where the copy is no whole one", () =>
  inTempDir((cache) => {
    const packed = packedText("content");
    using copy = unpack(cache, packed);
    const { path } = copy;
    using again = unpack(cache, packed);
    assertEquals([path, again.path], [unpackedPath(cache, packed), path]);
    assertEquals([Deno.readTextFileSync(path), packed.reads], ["content", 1]);
    Deno.writeTextFileSync(path, "cont");
    using _whole = unpack(cache, packed);
    assertEquals([Deno.readTextFileSync(path), packed.reads], ["content", 2]);
    return Promise.resolve();
  }));

Deno.test("unpack() trusts no copy that others may have written", () =>
  inTempDir((cache) => {
    const packed = packedText("content");
    using copy = unpack(cache, packed);
    Deno.writeTextFileSync(copy.path, "evil!!!");
    Deno.chmodSync(copy.path, 0o666);
    using made = unpack(cache, packed);
    assertEquals(Deno.readTextFileSync(made.path), "content");
    return Promise.resolve();
  }));

Deno.test("unpack() leaves nothing of a copy that failed", () =>
  inTempDir((cache) => {
    const failing = packedText("content");
    const read = () => {
      throw new Error("No space left on device");
    };
    assertThrows(() => unpack(cache, { ...failing, read }), Error, "No space left");
    assertEquals([...Deno.readDirSync(dirname(unpackedPath(cache, failing)))], []);
    return Promise.resolve();
  }));

/** Digests of the copies in a cache. */
const copiesIn = (cache: string) =>
  [...Deno.readDirSync(join(cache, "unpacked"))].map(({ name }) => name.slice(0, 2)).sort();

Deno.test("unpack() removes copies of other releases that nobody uses, with what a kill left", () =>
  inTempDir((cache) => {
    const [older, old, own] = ["01", "02", "03"].map((digest) => packedText(digest, digest));
    const used = unpack(cache, older);
    unpack(cache, old)[Symbol.dispose]();
    const half = join(dirname(unpackedPath(cache, old)), ".unfinished-x");
    Deno.writeTextFileSync(half, "half");
    assertEquals(copiesIn(cache), ["01", "02"]);
    using _own = unpack(cache, own);
    assertEquals(copiesIn(cache), ["01", "03"]);
    assertEquals(Deno.readTextFileSync(used.path), "01");
    used[Symbol.dispose]();
    // Both are there: neither's start removes the other's.
    unpack(cache, older)[Symbol.dispose]();
    assertEquals([copiesIn(cache), older.reads], [["01", "03"], 1]);
    using _next = unpack(cache, packedText("04", "04"));
    assertEquals(copiesIn(cache), ["03", "04"]);
    return Promise.resolve();
  }));

Deno.test("unpack() leaves alone what is not its own", () =>
  inTempDir((cache) => {
    const unpacked = join(cache, "unpacked");
    const foreign = join(unpacked, "01".repeat(16));
    for (const folder of [foreign, join(unpacked, "notes")]) {
      Deno.mkdirSync(folder, { recursive: true });
      Deno.writeTextFileSync(join(folder, "mine"), "");
    }
    Deno.symlinkSync(cache, join(unpacked, "02".repeat(16)));
    using _own = unpack(cache, packedText("content", "03"));
    assertEquals(copiesIn(cache), ["01", "02", "03", "no"]);
    assertEquals(Deno.readTextFileSync(join(foreign, "mine")), "");
    return Promise.resolve();
  }));

Deno.test("unpack() of two releases at once, again and again, gives each its own whole copy", () =>
  inTempDir(async (cache) => {
    const child = new URL("../helpers/unpack_child.ts", import.meta.url).pathname;
    const ends = ["0a", "0b", "0a", "0b"].map((digest) =>
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", child, cache, digest, "60"],
        stdout: "null",
      }).output()
    );
    for (const { code, stderr } of await Promise.all(ends)) {
      assertEquals(code, 0, new TextDecoder().decode(stderr));
    }
    const unfinished = copiesIn(cache).flatMap((digest) => [
      ...Deno.readDirSync(join(cache, "unpacked", digest.repeat(16))),
    ]).filter(({ name }) => name !== "file");
    assertEquals(unfinished, []);
  }));

Deno.test("openPacked() opens from memory where there is no cache, and says so", () => {
  const source = findLibrary();
  const { size } = Deno.statSync(source);
  const packed = {
    name: "libonnxruntime.so.1",
    sha256: "cd".repeat(32),
    sizeBytes: size,
    read: () => Deno.readFileSync(source),
  };
  const notes: string[] = [];
  const note = (line: string) => void notes.push(line);
  const ort = openPacked(packed, { cache: undefined, open: openLibrary, note });
  assertEquals(ort.version, openLibrary(source).version);
  assert(ort.path.startsWith("/proc/self/fd/"), ort.path);
  assertStringIncludes(notes.join(), "neither HOME nor XDG_CACHE_HOME is set");
  const open = () => {
    throw new OrtLoadError("It is no library", "cannot open");
  };
  assertThrows(() => openPacked(packed, { cache: undefined, open, note }), OrtLoadError);
});

function held(lock: ReturnType<typeof tryLockPath>): Disposable {
  if (typeof lock === "string") throw new Error(lock);
  return lock;
}

Deno.test("tryLockPath() tells a taken path from one that is gone, and shares", () =>
  inTempDir((folder) => {
    const path = join(folder, "file");
    assertEquals(tryLockPath(path), "impossible");
    Deno.writeTextFileSync(path, "");
    {
      using _held = held(tryLockPath(path));
      assertEquals([tryLockPath(path), tryLockPath(path, false)], ["taken", "taken"]);
    }
    {
      using _one = held(tryLockPath(path, false));
      using _two = held(tryLockPath(path, false));
      assertEquals(tryLockPath(path), "taken");
    }
    held(tryLockPath(path))[Symbol.dispose]();
    return Promise.resolve();
  }));

Deno.test("readKernelFile() and listKernelFolder() see /proc; a file in memory can be opened", () => {
  assert(/^Name:\t/.test(readKernelFile("/proc/self/status")!));
  assertEquals(readKernelFile("/proc/none"), undefined);
  assert(listKernelFolder("/proc").includes(String(Deno.pid)));
  assertEquals(listKernelFolder("/proc/none"), []);
  const path = fileInMemory("test", new TextEncoder().encode("content"))!;
  assertEquals(Deno.readTextFileSync(path), "content");
});
