import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { dirname, join } from "@std/path";
import { findLibrary, openLibrary, OrtLoadError } from "../../ffi/mod.ts";
import { fileInMemory, listKernelFolder, readKernelFile } from "../../ffi/libc_files.ts";
import { openPacked } from "../../src/runtime/brought_library.ts";
import { tryLockPath } from "../../src/system/claim.ts";
import { type Packed, unpack, unpackedPath } from "../../src/system/unpack.ts";
import { inTempDir } from "../helpers/training_runs.ts";

function packedText(text: string): Packed & { reads: number } {
  const content = new TextEncoder().encode(text);
  return {
    name: "file",
    sha256: "ab".repeat(32),
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
    const path = unpack(cache, packed);
    assertEquals([path, unpack(cache, packed)], [unpackedPath(cache, packed), path]);
    assertEquals([Deno.readTextFileSync(path), packed.reads], ["content", 1]);
    Deno.writeTextFileSync(path, "cont");
    unpack(cache, packed);
    assertEquals([Deno.readTextFileSync(path), packed.reads], ["content", 2]);
    return Promise.resolve();
  }));

Deno.test("unpack() trusts no copy that others may have written", () =>
  inTempDir((cache) => {
    const packed = packedText("content");
    const path = unpack(cache, packed);
    Deno.writeTextFileSync(path, "evil!!!");
    Deno.chmodSync(path, 0o666);
    assertEquals(Deno.readTextFileSync(unpack(cache, packed)), "content");
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
