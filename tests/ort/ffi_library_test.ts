import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  bindLibrary,
  findLibrary,
  LOWEST_ORT,
  openLibrary,
  OrtLoadError,
} from "../../ffi/library.ts";
import { availableProviders, Environment } from "../../ffi/environment.ts";
import { keepLoaded } from "../../ffi/libc.ts";
import { cString } from "../../ffi/pointer.ts";
import { RuntimeFailure } from "../../src/errors.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";

function loadError(action: () => unknown): OrtLoadError {
  return assertThrows(action, OrtLoadError) as OrtLoadError;
}

Deno.test("findLibrary() takes the explicit path, else the one that npm brought", () => {
  assertEquals(findLibrary("/opt/ort/libonnxruntime.so"), "/opt/ort/libonnxruntime.so");
  const found = findLibrary("");
  assertStringIncludes(found, "/node_modules/onnxruntime-node/bin/napi-v6/linux/");
  assertEquals(Deno.statSync(found).isFile, true);
});

Deno.test("findLibrary() says what to do where nothing was installed", () => {
  const error = loadError(() => findLibrary(undefined, "/proc/self"));
  assertEquals(error.kind, "not found");
  assertStringIncludes(error.message, "/proc/self");
  assertStringIncludes(error.message, "deno install");
  assertStringIncludes(error.message, "GRAFT_ORT_LIB");
});

Deno.test("openLibrary() tells a missing file, a text file and a folder by path and reason", async () => {
  const folder = await Deno.makeTempDir();
  const text = `${folder}/libonnxruntime.so`;
  await Deno.writeTextFile(text, "not a library\n".repeat(1000));
  const missing = `${folder}/none.so`;
  for (const [path, reason] of [[missing, "No such file"], [text, "ELF"], [folder, "directory"]]) {
    const error = loadError(() => openLibrary(path));
    assertEquals(error.kind, "cannot open");
    assertStringIncludes(error.message, `"${path}"`);
    assertStringIncludes(error.message, reason);
    assertStringIncludes(error.message, "point ortLib or GRAFT_ORT_LIB");
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("keepLoaded() finds dlopen in libdl where the C library has none", () => {
  const path = findLibrary();
  // The loader has none and needs no other library: it stands for the C library before glibc 2.34.
  const without = { x86_64: "ld-linux-x86-64.so.2", aarch64: "ld-linux-aarch64.so.1" };
  const old = without[Deno.build.arch];
  assertEquals(keepLoaded(path, [old]), false);
  assertEquals(keepLoaded(path, [old, "libdl.so.2"]), true);
  assertEquals(keepLoaded("/nowhere/libonnxruntime.so"), false);
  assertStringIncludes(Deno.readTextFileSync("/proc/self/maps"), Deno.realPathSync(path));
});

Deno.test("openLibrary() tells a library that is not ONNX Runtime", () => {
  const error = loadError(() => openLibrary("libc.so.6"));
  assertEquals(error.kind, "not this API");
  assertStringIncludes(error.message, `"libc.so.6"`);
  assertStringIncludes(error.message, "OrtGetApiBase");
});

Deno.test("openLibrary() tells the release of a library that is too old", () => {
  const version = cString("1.10.1");
  const GetVersionString = new Deno.UnsafeCallback(
    { parameters: [], result: "pointer" },
    () => Deno.UnsafePointer.of(version),
  );
  let asked = 0;
  const GetApi = new Deno.UnsafeCallback({ parameters: ["u32"], result: "pointer" }, () => {
    asked++;
    return null;
  });
  const base = BigUint64Array.of(
    BigInt(Deno.UnsafePointer.value(GetApi.pointer)),
    BigInt(Deno.UnsafePointer.value(GetVersionString.pointer)),
  );
  const error = loadError(() => bindLibrary("/jetson/lib.so", Deno.UnsafePointer.of(base)!));
  assertEquals(error.kind, "too old");
  assertStringIncludes(error.message, `"/jetson/lib.so"`);
  assertStringIncludes(error.message, "1.10.1");
  assertStringIncludes(error.message, LOWEST_ORT);
  assertEquals(asked, 0, "GetApi of an old library complains on stderr");
  GetApi.close();
  GetVersionString.close();
});

Deno.test("createOrtRunner() reports a library that cannot be opened as a RuntimeFailure", () => {
  assertThrows(() => createOrtRunner({ ortLib: "/none.so" }), RuntimeFailure, "/none.so");
});

Deno.test("availableProviders() lists the CPU's", () => {
  assertEquals(
    availableProviders(openLibrary(findLibrary())).includes("CPUExecutionProvider"),
    true,
  );
});

Deno.test("Environment.acquire() shares one set-up and refuses another while it is live", () => {
  const ort = openLibrary(findLibrary());
  const first = Environment.acquire(ort, { threads: 1 });
  const second = Environment.acquire(ort);
  assertEquals(second.handle, first.handle);
  assertThrows(() => Environment.acquire(ort, { threads: 2 }), RangeError, `{"threads":1}`);
  second.release();
  first.release();
  Environment.acquire(ort, { threads: 2 }).release();
});

Deno.test("Environment.acquire() works in two workers of one process", async () => {
  const ort = openLibrary(findLibrary());
  const environment = Environment.acquire(ort, { threads: 1 });
  const worker = new Worker(new URL("../helpers/environment_worker.ts", import.meta.url), {
    type: "module",
  });
  const answer = await new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage(ort.path);
  });
  worker.terminate();
  assertEquals(answer, "released");
  environment.release();
});

Deno.test("openLibrary() keeps ONNX Runtime from gathering usage: nothing appears in the temporary folder", async () => {
  const folder = await Deno.makeTempDir();
  const library = new URL("../../ffi/library.ts", import.meta.url).href;
  const environment = new URL("../../ffi/environment.ts", import.meta.url).href;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `import { findLibrary, openLibrary } from "${library}";` +
      `import { Environment } from "${environment}";` +
      `Environment.acquire(openLibrary(findLibrary()), {}).release();`,
    ],
    env: { TMPDIR: folder },
  });
  const { success, stderr } = await child.output();
  assert(success, new TextDecoder().decode(stderr));
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), []);
});
