/**
 * `--ep` on the command line: on the library that graft brings, on PyPI's onnxruntime-gpu, whose
 * providers need libraries that are not here, on PyPI's onnxruntime-openvino, whose provider runs on
 * any processor, and on WebGPU over Mesa's software Vulkan.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { graftProcess as graft, graftUnder } from "../helpers/graft.ts";
import { libraryMissing } from "../helpers/gpu_library.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { softwareVulkanMissing } from "../helpers/software_vulkan.ts";

const MODEL = modelDir("tiny-llama-genai-int4");
const run = (...args: string[]) => graft("run", MODEL, "hello", "-n", "2", ...args);

Deno.test("--ep cuda ends with 69 where its libraries are missing, and says what to do", async () => {
  const { code, stderr } = await run("--ep", "cuda");
  assertEquals(code, 69);
  assertStringIncludes(stderr, "Cannot use cuda of ONNX Runtime");
  assertStringIncludes(stderr, "--ep cuda,cpu");
});

Deno.test("--ep cuda,cpu runs on the processor, says so, and computes the same", async () => {
  const [plain, fallen] = await Promise.all([run("--ep", "cpu"), run("--ep", "tensorrt,cuda,cpu")]);
  assertEquals([plain.code, fallen.code], [0, 0], fallen.stderr);
  assertEquals(fallen.stdout, plain.stdout);
  assertMatch(fallen.stderr, /Not used: tensorrt: .*\nNot used: cuda: .*\nRunning on cpu\n/);
});

Deno.test("--ep and --ep-option that make no sense end with 2", async () => {
  for (
    const [args, words] of [
      [["--ep", "rocket"], 'no provider "rocket"'],
      [["--ep", "auto,cpu"], "stands alone"],
      [["--ep", "cpu", "--ep-option", "device_id=1"], "which has no options"],
    ] as const
  ) {
    const { code, stderr } = await run(...args);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, words);
  }
});

Deno.test("GRAFT_ORT_LOG that is no level ends with 2", async () => {
  const { code, stderr } = await graftUnder(["env", "GRAFT_ORT_LOG=loud"], "run", MODEL, "hello");
  assertEquals(code, 2);
  assertStringIncludes(stderr, "GRAFT_ORT_LOG must be one of verbose, info");
});

const gpu = Deno.env.get("GRAFT_GPU_ORT") ?? "";

testNeeding(
  libraryMissing("GRAFT_GPU_ORT"),
  "GRAFT_REQUIRE_TOOLS",
  "PyPI's onnxruntime-gpu: doctor lists its providers and says what each lacks",
  async () => {
    const { code, stdout } = await graft("doctor", "--json", "--ort-lib", gpu);
    assertEquals(code, 0);
    const { findings } = JSON.parse(stdout) as { findings: { id: string; what: string }[] };
    const what = new Map(findings.map(({ id, what }) => [id, what]));
    for (const name of ["CUDA", "Tensorrt"]) {
      assertMatch(
        what.get(`ort.provider.${name}ExecutionProvider`)!,
        /lib\w+\.so\.\d+|loads|no NVIDIA GPU/,
      );
    }
    assertStringIncludes(what.get("ort.library")!, gpu);
  },
);

testNeeding(
  libraryMissing("GRAFT_GPU_ORT"),
  "GRAFT_REQUIRE_TOOLS",
  "PyPI's onnxruntime-gpu: --ep cuda names the missing release, --ep cuda,cpu runs without it",
  async () => {
    const named = await run("--ep", "cuda", "--ort-lib", gpu);
    if (named.code === 0) return; // a machine with a card
    assertEquals(named.code, 69);
    assertMatch(named.stderr, /built for CUDA \d+: install that release|no GPU can be seen/);
    const fallen = await run("--ep", "cuda,cpu", "--ort-lib", gpu);
    assertEquals(fallen.code, 0, fallen.stderr);
    assert(fallen.stdout.length > 0);
    assertStringIncludes(fallen.stderr, "Running on cpu");
  },
);

testNeeding(
  libraryMissing("GRAFT_OPENVINO_ORT"),
  "GRAFT_REQUIRE_TOOLS",
  "a provider that takes part of a graph is told with its share and what fell back",
  async () => {
    const library = Deno.env.get("GRAFT_OPENVINO_ORT")!;
    const { code, stderr } = await run("--ep", "openvino", "--ort-lib", library);
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /openvino runs \d+ of \d+ nodes \(\d+%\) of 1 graph\n/);
    assertMatch(stderr, /cpu runs 2 of \d+ nodes \(\d+%\) of 1 graph: GroupQueryAttention 2\n/);
    assertStringIncludes(stderr, "GroupQueryAttention: this release's openvino has no kernel");
  },
);

testNeeding(
  softwareVulkanMissing(),
  "GRAFT_REQUIRE_TOOLS",
  "--ep webgpu trains, and answers the same from runs that it has recorded, wholly on the device",
  async () => {
    const folder = await Deno.makeTempDir();
    try {
      const [data, adapter] = [`${folder}/pairs.jsonl`, `${folder}/adapter`];
      const row = { prompt: "colour: red", completion: "A red lid, the third from the left." };
      await Deno.writeTextFile(data, `${JSON.stringify(row)}\n`);
      const provider = ["--ep", "webgpu,cpu"];
      const trained = await graft(
        "train",
        ...["--model", MODEL, "--data", data, "--adapter-path", adapter, "--iters", "3"],
        ...provider,
      );
      assertEquals(trained.code, 0, trained.stderr);
      assertMatch(trained.stderr, /beside the processor's: cosine 1\.0000/);
      const answer = (...more: string[]) =>
        graft(
          "run",
          ...[MODEL, "hello", "-n", "12", "--temp", "0", "--adapter-path", adapter],
          ...provider,
          ...more,
        );
      const plain = await answer();
      const recorded = await answer("--ep-option", "enableGraphCapture=1");
      assertEquals([plain.code, recorded.code], [0, 0], plain.stderr + recorded.stderr);
      assertEquals(recorded.stdout, plain.stdout);
      assertMatch(plain.stderr, /cpu runs \d+ of \d+ nodes .*ReduceSum/);
      assertMatch(recorded.stderr, /webgpu runs (\d+) of \1 nodes \(100%\)/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

testNeeding(
  libraryMissing("GRAFT_GPU_ORT"),
  "GRAFT_REQUIRE_TOOLS",
  "an installed onnxruntime-gpu is found where a GPU is wanted and no library is named",
  async () => {
    const environment = await Deno.makeTempDir();
    try {
      const packages = `${environment}/lib/python3.11/site-packages/onnxruntime`;
      await Deno.mkdir(packages, { recursive: true });
      await Deno.symlink(dirname(Deno.realPathSync(gpu)), `${packages}/capi`);
      const under = ["env", "-u", "GRAFT_ORT_LIB", `VIRTUAL_ENV=${environment}`];
      const run = (ep: string) => graftUnder(under, "run", MODEL, "hello", "-n", "1", "--ep", ep);
      const wanted = await run("cuda,cpu");
      assertEquals(wanted.code, 0, wanted.stderr);
      assertStringIncludes(
        wanted.stderr,
        `ONNX Runtime with CUDA: ${packages}/capi/libonnxruntime`,
      );
      const unwanted = await run("cpu");
      assert(!unwanted.stderr.includes(packages), unwanted.stderr);
    } finally {
      await Deno.remove(environment, { recursive: true });
    }
  },
);
