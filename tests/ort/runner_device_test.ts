/** Tensors in a device's memory, with the host's as the device: the same calls, another name. */
import { assert, assertEquals } from "@std/assert";
import { worded } from "../../src/errors.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { placementOfProfile } from "../../src/runtime/placement.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { CausalModel } from "../../src/serve/causal_model.ts";
import { withChosenLogits } from "../../src/serve/last_logits.ts";
import { argmax } from "../../src/statistics.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { libraryMissing } from "../helpers/gpu_library.ts";
import { oldestOrt, testOnEachOrt } from "../helpers/oldest_ort.ts";
import { tinyModel } from "../helpers/ort.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { runnerCases } from "../helpers/runner_cases.ts";

runnerCases("tensors on a device", { memory: "Cpu" });
const oldest = await oldestOrt();
if ("path" in oldest) {
  runnerCases("tensors on a device, the oldest supported library", {
    memory: "Cpu",
    ortLib: oldest.path,
  });
}

Deno.test("what runs give stays on the device until it is read", async () => {
  using runner = createOrtRunner({ memory: "Cpu" });
  assert(!runner.inPlace);
  using executable = await runner.compile(tinyModel({
    inputs: { x: ["float32", [2]] },
    outputs: { y: ["float32", [2]] },
    nodes: [["Add", ["x", "x"], ["y"]]],
  }));
  let x = runner.upload(float32([2], [1, 2]));
  for (let i = 0; i < 3; i++) {
    const { y } = await executable.run({ x });
    x[Symbol.dispose]();
    x = y;
  }
  assertEquals(runner.traffic, { uploadedBytes: 8, readBytes: 0 });
  assertEquals([...toNumbers(x.read())], [8, 16]);
  x.write(float32([2], [3, 5]));
  assertEquals([...toNumbers(x.read())], [3, 5]);
  x[Symbol.dispose]();
  assertEquals(runner.traffic, { uploadedBytes: 16, readBytes: 16 });
});

testNeeding(
  libraryMissing("GRAFT_OPENVINO_ORT"),
  "GRAFT_REQUIRE_TOOLS",
  "where graphs run is told once, and no profile is left behind",
  async () => {
    const folder = await Deno.makeTempDir();
    const before = Deno.env.get("TMPDIR");
    Deno.env.set("TMPDIR", folder);
    try {
      const told: string[] = [];
      const model = tinyModel({
        inputs: { x: ["float32", [2]] },
        outputs: { y: ["float32", [2]] },
        nodes: [["Add", ["x", "x"], ["y"]]],
      });
      {
        using runner = createOrtRunner({
          ortLib: Deno.env.get("GRAFT_OPENVINO_ORT"),
          wish: { names: ["openvino"], options: ["device_type=CPU"] },
          note: (line) => told.push(worded(line)),
        });
        using executable = await runner.compile(model);
        using _unused = await runner.compile(model);
        using x = runner.upload(float32([2], [1, 2]));
        for (let i = 0; i < 2; i++) (await executable.run({ x })).y[Symbol.dispose]();
      }
      assertEquals(told, ["openvino runs 1 of 1 nodes (100%) of 1 graph"]);
      assertEquals([...Deno.readDirSync(folder)], []);
    } finally {
      if (before === undefined) Deno.env.delete("TMPDIR");
      else Deno.env.set("TMPDIR", before);
      await Deno.remove(folder, { recursive: true });
    }
  },
);

testOnEachOrt("placementOfProfile() reads what each release writes", async (ortLib) => {
  const folder = await Deno.makeTempDir();
  try {
    using runner = createOrtRunner({ ortLib });
    using executable = await runner.compile(
      tinyModel({
        inputs: { x: ["float32", [2, 2]] },
        outputs: { y: ["float32", [2, 2]] },
        nodes: [["MatMul", ["x", "x"], ["z"]], ["Softmax", ["z"], ["y"]]],
      }),
      { profilePrefix: `${folder}/run` },
    );
    using x = runner.upload(float32([2, 2], [1, 2, 3, 4]));
    (await executable.run({ x })).y[Symbol.dispose]();
    const placement = placementOfProfile(Deno.readTextFileSync(executable.endProfiling().path));
    assertEquals(
      placement,
      new Map([["CPUExecutionProvider", new Map([["MatMul", 1], ["Softmax", 1]])]]),
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Tokens after a prompt, the most likely each time. */
async function generated(count: number, memory?: string) {
  const model = withChosenLogits(readModel(modelDir("tiny-llama-genai-int4")));
  using runner = createOrtRunner({ threads: 1, memory });
  using executable = await runner.compile(model);
  using causal = new CausalModel(runner, executable, model.graph);
  const ids: number[] = [];
  for (let next = [1, 45, 300, 17]; ids.length < count; next = ids.slice(-1)) {
    ids.push(argmax(await causal.advance(next)));
  }
  return { ids, ...runner.traffic };
}

Deno.test("generate() writes into caches that stay on the device and gives the host's tokens", async () => {
  const [onHost, onDevice] = [await generated(6), await generated(6, "Cpu")];
  assertEquals(onDevice.ids, onHost.ids);
  // Tokens and logits lie in memory that is bound once, and nothing of the caches crosses.
  assertEquals([onDevice.uploadedBytes, onDevice.readBytes], [0, 0]);
});

Deno.test("generate() takes along what its caches on the device hold when they become too small", async () => {
  const [onHost, onDevice] = [await generated(140), await generated(140, "Cpu")];
  assertEquals(onDevice.ids, onHost.ids);
  assert(onDevice.uploadedBytes > 0 && onDevice.readBytes > 0);
});
