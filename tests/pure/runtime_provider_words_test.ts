import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { findGpuLibrary } from "../../src/runtime/gpu_library.ts";
import {
  countPlacement,
  describePlacement,
  placementOfProfile,
} from "../../src/runtime/placement.ts";
import { whatToDo } from "../../src/runtime/provider_failure.ts";
import {
  defaultOptions,
  engineFolder,
  withEnginePrefix,
} from "../../src/runtime/provider_options.ts";
import { withPatience } from "../../src/runtime/engine_patience.ts";
import { withSessionPatience } from "../../src/runtime/session_patience.ts";

const [CPU, CUDA, TENSORRT] = ["CPU", "CUDA", "Tensorrt"].map((name) => `${name}ExecutionProvider`);

Deno.test("whatToDo() names what is missing, and nothing where it does not know", () => {
  const cannot = "cannot open shared object file: No such file or directory";
  for (
    const [failure, words] of [
      [`/x/libonnxruntime_providers_shared.so: ${cannot}`, "GRAFT_ORT_LIB"],
      [`/x/p.so: libcudart.so.11.0: ${cannot}`, "CUDA 11"],
      [`/x/p.so: libcudnn.so.9: ${cannot}`, "cuDNN 9"],
      [`/x/p.so: libnvinfer.so.10: ${cannot}`, "TensorRT 10"],
      [`/x/p.so: libcuda.so.1: ${cannot}`, "driver is not installed"],
      ["/lib/libm.so.6: version `GLIBC_2.35' not found (required by /x/p.so)", "JetPack"],
      ["CUDA failure 100: no CUDA-capable device is detected", "--runtime nvidia"],
      ["CUDA failure 35: CUDA driver version is insufficient", "driver is older"],
      ["CUDA failure 209: no kernel image is available", "sm_87"],
      ["CUDA failure 2: out of memory", "gpu_mem_limit"],
      ["Failed to get a WebGPU adapter: No supported adapters", "Vulkan driver"],
    ]
  ) assertStringIncludes(whatToDo(failure), words);
  assertEquals(whatToDo("the moon is full"), "");
});

Deno.test("defaultOptions() leave room where memory is shared, and keep float32 float32", () => {
  assertEquals(defaultOptions(CUDA, { unifiedMemory: false, freeBytes: 1e9 }), {
    arena_extend_strategy: "kSameAsRequested",
    use_tf32: "0",
  });
  assertEquals(
    defaultOptions(CUDA, { unifiedMemory: true, freeBytes: 1e9 }).gpu_mem_limit,
    "700000000",
  );
  assertEquals(defaultOptions("QNNExecutionProvider", { unifiedMemory: true }), {});
});

Deno.test("withEnginePrefix() gives each model's engines a name of their own", () => {
  const options = defaultOptions(TENSORRT, { unifiedMemory: true, cache: "/c" });
  assertEquals(engineFolder(options), "/c/tensorrt");
  const [a, b] = ["ab".repeat(32), "cd".repeat(32)].map((digest) =>
    withEnginePrefix(options, digest).trt_engine_cache_prefix
  );
  assertEquals(a, "graft_abababababababab");
  assert(a !== b);
  const own = { ...options, trt_engine_cache_prefix: "mine" };
  assertEquals(withEnginePrefix(own, "ef").trt_engine_cache_prefix, "mine");
  const without = defaultOptions(TENSORRT, { unifiedMemory: true });
  assertEquals(withEnginePrefix(without, "ef"), {});
});

Deno.test("withPatience() tells how long an engine has been building", async () => {
  const notes: string[] = [];
  const wait = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));
  const value = await withPatience("m.onnx", "/c", (line) => notes.push(line), async () => {
    while (notes.length < 2) await wait(1);
    return 7;
  }, 2);
  assertEquals(value, 7);
  assertStringIncludes(notes[0], 'TensorRT builds an engine for "m.onnx", once: it is kept in /c');
  const before = notes.length;
  await wait(10);
  assertEquals(notes.length, before);
});

Deno.test("withSessionPatience() tells how long a session has been made, and how large it is", async () => {
  const notes: string[] = [];
  const note = (line: string) => void notes.push(line);
  const wait = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));
  // A second of a millisecond.
  await withSessionPatience("m.onnx", 16012, note, async () => {
    while (notes.length < 2) await wait(1);
  }, 1);
  assertStringIncludes(notes[0], 'ONNX Runtime prepares "m.onnx", a graph of 16012 nodes: ');
  await wait(40);
  assertEquals(notes.length, 2);
  await withSessionPatience("m.onnx", 1, note, () => Promise.resolve());
  assertEquals(notes.length, 2);
});

Deno.test("findGpuLibrary() takes the library beside CUDA's provider, the user's before the system's", () => {
  const cuda = "libonnxruntime_providers_cuda.so";
  const files: Record<string, string[]> = {
    "/venv/lib": ["python3.10"],
    "/home/me/.local/lib": ["python3.8", "python3.10"],
    "/home/me/.local/lib/python3.10/site-packages/onnxruntime/capi": [cuda],
    "/usr/local/lib": ["libonnxruntime.so", cuda, "libonnxruntime.so.1.23.2"],
  };
  const find = (variables: Record<string, string>) =>
    findGpuLibrary((name) => variables[name], { list: (path) => files[path] ?? [] });
  // Older wheels have the provider, but no library to open.
  assertEquals(find({ HOME: "/home/me" }), "/usr/local/lib/libonnxruntime.so.1.23.2");
  files["/venv/lib/python3.10/site-packages/onnxruntime/capi"] = [cuda, "libonnxruntime.so.1.20.0"];
  assertEquals(
    find({ VIRTUAL_ENV: "/venv", HOME: "/home/me" }),
    "/venv/lib/python3.10/site-packages/onnxruntime/capi/libonnxruntime.so.1.20.0",
  );
  assertEquals(find({}), "/usr/local/lib/libonnxruntime.so.1.23.2");
});

Deno.test("placementOfProfile() counts the kernels of a run, and nothing else", () => {
  const event = (name: string, provider: string, operator: string) => ({
    cat: "Node",
    name,
    args: { op_name: operator, provider },
  });
  const profile = JSON.stringify([
    { cat: "Session", name: "model_run", args: {} },
    event("a_fence_before", CUDA, "MatMul"),
    event("a_kernel_time", CUDA, "MatMul"),
    event("b_kernel_time", CUDA, "MatMul"),
    event("c_kernel_time", CPU, "Shape"),
  ]);
  assertEquals(
    placementOfProfile(profile),
    new Map([[CUDA, new Map([["MatMul", 2]])], [CPU, new Map([["Shape", 1]])]]),
  );
});

Deno.test("describePlacement() tells shares, what fell back, and why", () => {
  const nodes = (provider: string, ...operators: string[]) =>
    operators.map((operator) => ({ provider, operator }));
  const placement = countPlacement([
    ...nodes(CUDA, "MatMul", "MatMul", "Add", "Softmax", "Mul", "MemcpyFromHost"),
    ...nodes(CPU, "Shape", "Shape", "Einsum"),
  ]);
  const lines = describePlacement([placement, placement], [CUDA]);
  assertEquals(lines[0], "cuda runs 10 of 16 nodes (63%) of 2 graphs");
  assertEquals(lines[1], "cpu runs 6 of 16 nodes (38%) of 2 graphs: Shape 4, Einsum 2");
  assertStringIncludes(lines[2], "Einsum: this release's cuda has no kernel");
  assertStringIncludes(lines[3], "Shape: on shapes and indices");
  assertStringIncludes(lines[4], "copies between processor and device in every run: 2");
  const all = countPlacement(nodes(CUDA, "MatMul"));
  assertEquals(describePlacement([all], [CUDA]), ["cuda runs 1 of 1 nodes (100%) of 1 graph"]);
});
