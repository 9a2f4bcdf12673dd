import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import type { Ort } from "../../ffi/api.ts";
import { Environment } from "../../ffi/environment.ts";
import { appendProvider, type Provider, shareArena } from "../../ffi/providers.ts";
import { readCString } from "../../ffi/pointer.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { RuntimeFailure } from "../../src/errors.ts";
import { openOrt } from "../../src/runtime/brought_library.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { testOnEachOrt } from "../helpers/oldest_ort.ts";
import { tinyModel } from "../helpers/ort.ts";

const anyPointer = Deno.UnsafePointer.create(0x1000n)!;

/** An OrtApi that notes what providers are asked for, as a GPU build would see it. */
function recordingOrt(log: string[], sharesArena = true): Ort {
  const texts = (pointers: BigUint64Array, count: bigint) =>
    Array.from(
      pointers.subarray(0, Number(count)),
      (p) => readCString(Deno.UnsafePointer.create(p)),
    );
  const create = (name: string) => (out: BigUint64Array) => {
    log.push(name);
    out[0] = 0x2000n;
    return null;
  };
  const update =
    (name: string) =>
    (_options: unknown, keys: BigUint64Array, values: BigUint64Array, count: bigint) => {
      const given = texts(values, count);
      log.push(`${name} ${texts(keys, count).map((key, i) => `${key}=${given[i]}`)}`);
      return null;
    };
  const note = (name: string) => () => {
    log.push(name);
    return null;
  };
  const generic = (
    _options: unknown,
    name: Uint8Array<ArrayBuffer>,
    keys: BigUint64Array,
    values: BigUint64Array,
    count: bigint,
  ) => update(`append ${readCString(Deno.UnsafePointer.of(name))}`)(null, keys, values, count);
  const api = {
    CreateCUDAProviderOptions: create("create CUDA"),
    UpdateCUDAProviderOptions: update("update CUDA"),
    SessionOptionsAppendExecutionProvider_CUDA_V2: note("append CUDA"),
    ReleaseCUDAProviderOptions: note("release CUDA"),
    CreateTensorRTProviderOptions: create("create TensorRT"),
    UpdateTensorRTProviderOptions: update("update TensorRT"),
    SessionOptionsAppendExecutionProvider_TensorRT_V2: note("append TensorRT"),
    ReleaseTensorRTProviderOptions: note("release TensorRT"),
    SessionOptionsAppendExecutionProvider: generic,
    CreateArenaCfg: (
      limit: bigint,
      strategy: number,
      _: number,
      __: number,
      out: BigUint64Array,
    ) => {
      log.push(`arena of ${limit} bytes, strategy ${strategy}`);
      out[0] = 0x3000n;
      return null;
    },
    ReleaseArenaCfg: note("release arena"),
    CreateAndRegisterAllocatorV2: (
      _environment: unknown,
      name: Uint8Array<ArrayBuffer>,
      _memory: unknown,
      _arena: unknown,
      keys: BigUint64Array,
      values: BigUint64Array,
      count: bigint,
    ) => {
      update(`share ${readCString(Deno.UnsafePointer.of(name))}`)(null, keys, values, count);
      return sharesArena ? null : anyPointer;
    },
    GetErrorCode: () => 1,
    GetErrorMessage: () => null,
    ReleaseStatus: () => {},
  };
  return { api } as unknown as Ort;
}

function appended(provider: Provider): string[] {
  const log: string[] = [];
  appendProvider(recordingOrt(log), anyPointer, provider);
  return log;
}

Deno.test("appendProvider() gives CUDA and TensorRT their options through their own structs", () => {
  assertEquals(
    appended({
      name: "CUDAExecutionProvider",
      options: { device_id: "1", arena_extend_strategy: "kSameAsRequested" },
    }),
    [
      "create CUDA",
      "update CUDA device_id=1,arena_extend_strategy=kSameAsRequested",
      "append CUDA",
      "release CUDA",
    ],
  );
  assertEquals(
    appended({
      name: "TensorrtExecutionProvider",
      options: { trt_fp16_enable: "1", trt_int8_enable: "1" },
    }),
    [
      "create TensorRT",
      "update TensorRT trt_fp16_enable=1,trt_int8_enable=1",
      "append TensorRT",
      "release TensorRT",
    ],
  );
});

Deno.test("shareArena() gives the limit and the provider's options, and says whether ORT took them", () => {
  const provider = { name: "CUDAExecutionProvider", options: { gpu_mem_limit: "4096" } };
  for (const taken of [true, false]) {
    const log: string[] = [];
    const ort = recordingOrt(log, taken);
    const refusal = shareArena(ort, anyPointer, provider, anyPointer, 4096n);
    assertEquals(refusal, taken ? undefined : "");
    assertEquals(log.slice(0, 2), [
      "arena of 4096 bytes, strategy 1",
      "share CUDAExecutionProvider gpu_mem_limit=4096",
    ]);
    assertEquals(log.at(-1), "release arena");
  }
});

testOnEachOrt("shareArena() calls what ONNX Runtime has in that place", (ortLib) => {
  const environment = Environment.acquire(openOrt(ortLib, () => {}));
  try {
    const { ort, handle, hostMemory } = environment;
    const refusal = shareArena(ort, handle, { name: "Rocket" }, hostMemory, 0n);
    assertMatch(refusal ?? "", /Rocket.*CreateAndRegisterAllocatorV2/);
  } finally {
    environment.release();
  }
  return Promise.resolve();
});

Deno.test("appendProvider() names other providers as ORT registers them", () => {
  assertEquals(appended({ name: "QNNExecutionProvider", options: { backend_path: "x.so" } }), [
    "append QNN backend_path=x.so",
  ]);
  assertEquals(appended({ name: "XnnpackExecutionProvider" }), ["append XNNPACK "]);
  assertEquals(appended({ name: "CPUExecutionProvider" }), []);
});

Deno.test("createOrtRunner() says which provider does not load", () => {
  for (const name of ["CUDAExecutionProvider", "TensorrtExecutionProvider", "QNN"]) {
    const { message } = assertThrows(
      () => createOrtRunner({ providers: [{ name }] }),
      RuntimeFailure,
    );
    assertStringIncludes(message, `Cannot use ${name}`);
    assertStringIncludes(message, "point ortLib or GRAFT_ORT_LIB");
  }
});

Deno.test("a named CPU provider runs like none, through bindings too", async () => {
  using runner = createOrtRunner({ providers: [{ name: "CPUExecutionProvider" }] });
  using executable = await runner.compile(tinyModel({
    inputs: { x: ["float32", [1]] },
    outputs: { y: ["float32", [1]] },
    nodes: [["Neg", ["x"], ["y"]]],
  }));
  using x = runner.upload(float32([1], [3]));
  using y = runner.allocate("float32", [1]);
  using bound = executable.bind({ x }, { y });
  x.write(float32([1], [4]));
  await bound.run();
  assertEquals([...toNumbers(y.read())], [-4]);
});
