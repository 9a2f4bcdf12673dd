import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RuntimeFailure, UsageError, worded } from "../../src/errors.ts";
import {
  chooseProviders,
  type ProviderTrial,
  type ProviderWish,
  wantsGpu,
} from "../../src/runtime/provider_choice.ts";

const [CPU, CUDA, TENSORRT] = ["CPU", "CUDA", "Tensorrt"].map((name) => `${name}ExecutionProvider`);

/** What is chosen, and what is said of it. */
function choose(
  wish: Partial<ProviderWish>,
  { failures = {}, ...trial }: Partial<ProviderTrial> & { failures?: Record<string, string> } = {},
) {
  const notes: string[] = [];
  const chosen = chooseProviders({ names: ["auto"], options: [], ...wish }, {
    library: { path: "/gpu/libonnxruntime.so", version: "1.23.2" },
    available: [TENSORRT, CUDA, "OpenVINOExecutionProvider", CPU],
    hasGpu: true,
    defaults: (name): Record<string, string> =>
      name === CUDA ? { arena_extend_strategy: "kSameAsRequested" } : {},
    failure: ({ name }) => failures[name],
    note: (line) => notes.push(worded(line)),
    ...trial,
  });
  return { chosen, names: chosen.map(({ name }) => name), notes };
}

const NO_CUBLAS = "/gpu/libonnxruntime_providers_cuda.so: libcublasLt.so.12: cannot open shared " +
  "object file: No such file or directory";

Deno.test("--ep auto is CUDA where it can be used, and never TensorRT", () => {
  assertEquals(choose({}).names, [CUDA]);
  assertEquals(choose({}).chosen[0].options, { arena_extend_strategy: "kSameAsRequested" });
  assertEquals(choose({ names: [] }).names, [CUDA]);
});

Deno.test("--ep auto is the processor without a GPU, and says nothing", () => {
  assertEquals(choose({}, { hasGpu: false }), { chosen: [], names: [], notes: [] });
});

Deno.test("--ep auto says why a GPU that is there is not used", () => {
  const broken = choose({}, { failures: { [CUDA]: NO_CUBLAS } });
  assertEquals(broken.names, []);
  assertStringIncludes(broken.notes[0], "built for CUDA 12: install that release");
  assertStringIncludes(broken.notes[0], "`ep: cpu`");
  const without = choose({}, { available: [CPU] });
  assertEquals(without.names, []);
  assertStringIncludes(without.notes[0], "has no CUDA");
});

Deno.test("--ep takes an order, and what cannot be used is left out with its reason", () => {
  assertEquals(choose({ names: ["tensorrt", "cuda", "cpu"] }).names, [TENSORRT, CUDA]);
  const failures = { [TENSORRT]: "x: libnvinfer.so.10: cannot open shared object file" };
  const { names, notes } = choose({ names: ["tensorrt", "cuda", "cpu"] }, { failures });
  assertEquals(names, [CUDA]);
  assertStringIncludes(notes[0], "Not used: tensorrt");
  assertStringIncludes(notes[0], "built for TensorRT 10");
  assertEquals(notes[1], "Running on cuda, then cpu");
});

Deno.test("--ep cpu asks for nothing else", () => {
  assertEquals(choose({ names: ["cpu"] }), { chosen: [], names: [], notes: [] });
  assertEquals(choose({ names: ["cpu", "cuda"] }).names, []);
});

Deno.test("--ep names providers as ORT lists them, in any case", () => {
  assertEquals(choose({ names: ["OpenVINO"] }).names, ["OpenVINOExecutionProvider"]);
  assertEquals(choose({ names: ["CUDAExecutionProvider"] }).names, [CUDA]);
  assertEquals(choose({ names: ["trt"] }).names, [TENSORRT]);
  assertThrows(
    () => choose({ names: ["rocket"] }),
    UsageError,
    'no provider "rocket": this ONNX Runtime has tensorrt, cuda, openvino, cpu',
  );
});

Deno.test("--ep with a provider that cannot be used is an error without a fallback", () => {
  const { message } = assertThrows(
    () => choose({ names: ["cuda"] }, { failures: { [CUDA]: NO_CUBLAS } }),
    RuntimeFailure,
  );
  assertStringIncludes(message, "1.23.2");
  assertStringIncludes(message, "/gpu/libonnxruntime.so");
  assertStringIncludes(message, "libcublasLt.so.12");
  assertStringIncludes(message, "LD_LIBRARY_PATH");
  assertStringIncludes(message, "`ep: cuda,cpu`");
  assertThrows(
    () => choose({ names: ["cuda"] }, { available: [CPU] }),
    RuntimeFailure,
    `built with ${CPU}`,
  );
});

Deno.test("--ep auto is not mixed with names", () => {
  assertThrows(() => choose({ names: ["auto", "cpu"] }), UsageError, "stands alone");
});

Deno.test("--ep-option goes to the first provider, trt_… to TensorRT, NAME: to the one named", () => {
  const { chosen } = choose({
    names: ["tensorrt", "cuda"],
    options: ["trt_fp16_enable=1", "cuda:gpu_mem_limit=1=2", "device_id=1"],
  });
  assertEquals(chosen, [
    { name: TENSORRT, options: { trt_fp16_enable: "1", device_id: "1" } },
    {
      name: CUDA,
      options: { arena_extend_strategy: "kSameAsRequested", gpu_mem_limit: "1=2" },
    },
  ]);
  const own = choose({ names: ["cuda"], options: ["arena_extend_strategy=kNextPowerOfTwo"] });
  assertEquals(own.chosen[0].options, { arena_extend_strategy: "kNextPowerOfTwo" });
});

Deno.test("--ep-option says what is wrong with it", () => {
  const refused = (names: string[], option: string, words: string) =>
    assertThrows(() => choose({ names, options: [option] }), UsageError, words);
  refused(["cuda"], "device_id", 'must be key=value or PROVIDER:key=value: current value is "dev');
  refused(["cuda"], "trt_fp16_enable=1", "for tensorrt, which ep does not name");
  refused(["cpu"], "device_id=1", "for cpu, which has no options");
  assertThrows(
    () => choose({ options: ["device_id=1"] }, { hasGpu: false }),
    UsageError,
    "no GPU is there",
  );
});

Deno.test("wantsGpu() holds for names of a GPU's providers, and for auto where there is one", () => {
  const wants = (names: string[], hasGpu = false) => wantsGpu({ names, options: [] }, hasGpu);
  assertEquals([wants(["cuda"]), wants(["tensorrt", "cpu"]), wants(["auto"], true)], [
    true,
    true,
    true,
  ]);
  assertEquals([wants(["auto"]), wants(["cpu"], true), wants(["openvino"], true)], [
    false,
    false,
    false,
  ]);
});
