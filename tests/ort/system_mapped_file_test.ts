import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { BadInputError, StorageError } from "../../src/errors.ts";
import { float32, tensor, toNumbers } from "../../src/graph/tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { forgetMapped, locateMapped, openMapped } from "../../src/system/mapped_file.ts";
import { processMemory } from "../../src/system/memory.ts";

/** A file that is there until it is disposed of. */
function temporary(bytes: Uint8Array): Disposable & { readonly path: string } {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, bytes);
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

Deno.test("openMapped() shows a file's bytes, and an empty file as none", () => {
  using whole = temporary(Uint8Array.of(1, 2, 3));
  const { path } = whole;
  using file = openMapped(path);
  assertEquals(file.bytes, Uint8Array.of(1, 2, 3));
  assertEquals(locateMapped(file.bytes.subarray(2)), { path, offset: 2 });
  assertEquals(locateMapped(new Uint8Array(3)), undefined);
  using empty = temporary(new Uint8Array(0));
  using nothing = openMapped(empty.path);
  assertEquals(nothing.bytes.byteLength, 0);
});

Deno.test("openMapped() reads through symbolic links and names the real file", () => {
  using whole = temporary(Uint8Array.of(9));
  const { path } = whole;
  const link = `${path}.link`;
  Deno.symlinkSync(path, link);
  using file = openMapped(link);
  Deno.removeSync(link);
  assertEquals(file.path, link);
  assertEquals(locateMapped(file.bytes)?.path, path);
});

Deno.test("forgetMapped() takes bytes out of memory, which read the same again", () => {
  const size = 16 * 2 ** 20;
  using whole = temporary(new Uint8Array(size).fill(7));
  const { path } = whole;
  using file = openMapped(path);
  const sum = () => file.bytes.reduce((total, byte) => total + byte, 0);
  assertEquals(sum(), 7 * size);
  const read = processMemory().fileBytes;
  forgetMapped(file.bytes.subarray(1, size - 1));
  assert(read - processMemory().fileBytes > size / 2);
  assertEquals(sum(), 7 * size);
  const own = Uint8Array.from({ length: 9999 }, (_, i) => i);
  forgetMapped(own);
  assertEquals(own[9998], 9998 % 256);
});

Deno.test("openMapped() names the path of what it cannot map", async () => {
  for (
    const [path, reason] of [["/no/file", "no such file"], ["/tmp", "not a regular file"], [
      "/dev/zero",
      "not a regular file",
    ]]
  ) {
    const { message } = assertThrows(() => openMapped(path), BadInputError);
    assertStringIncludes(message, `"${path}"`);
    assertStringIncludes(message, reason);
  }
  // A size that no mapping can have: the kernel's own files report 0 or refuse to be mapped.
  const sysfs = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (await Deno.stat(sysfs).then((s) => s.size > 0, () => false)) {
    const { message } = assertThrows(() => openMapped(sysfs), StorageError);
    assertStringIncludes(message, sysfs);
  }
});

Deno.test("disposing of a mapped file empties the views of it, and is harmless twice", () => {
  using whole = temporary(Uint8Array.of(1, 2, 3));
  const file = openMapped(whole.path);
  const view = file.bytes.subarray(1);
  file[Symbol.dispose]();
  file[Symbol.dispose]();
  assertEquals(view.byteLength, 0);
  assertEquals(file.bytes.byteLength, 0);
});

Deno.test("pages of a mapped file stay out of anonymous memory, wrapped or read", () => {
  const size = 32 * 2 ** 20;
  using whole = temporary(new Uint8Array(size).fill(1));
  const { path } = whole;
  using runner = createOrtRunner({ threads: 2 });
  const before = processMemory().anonymousBytes;
  using file = openMapped(path);
  using wrapped = runner.wrap(tensor("uint8", [size], file.bytes));
  let sum = 0;
  for (let i = 0; i < size; i += 4096) sum += file.bytes[i];
  assertEquals(sum, size / 4096);
  assertEquals(wrapped.dims, [size]);
  assertEquals(runner.traffic.uploadedBytes, 0);
  const grownBytes = processMemory().anonymousBytes - before;
  assert(grownBytes < size / 2, `${grownBytes} bytes`);
});

Deno.test("a wrapped range of a mapped file reads as the tensor it holds", () => {
  const bytes = new Uint8Array(20);
  bytes.set(float32([2], [1.5, -2]).bytes, 12);
  using whole = temporary(bytes);
  using file = openMapped(whole.path);
  using runner = createOrtRunner({ threads: 2 });
  using wrapped = runner.wrap(tensor("float32", [2], file.bytes.subarray(12)));
  assertEquals([...toNumbers(wrapped.read())], [1.5, -2]);
});
