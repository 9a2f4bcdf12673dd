/** Training with tensors on a device, and the comparison with the processor before the first step. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { checkProvider } from "../../src/finetune/check_provider.ts";
import { asFlag } from "../../src/config/parameter.ts";
import type { PreparationEvent } from "../../src/finetune/mod.ts";
import { RefusedError, worded } from "../../src/errors.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { libraryMissing } from "../helpers/gpu_library.ts";
import { runOracle } from "../helpers/oracle.ts";
import { testOnEachOrt } from "../helpers/oldest_ort.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { softwareVulkanMissing } from "../helpers/software_vulkan.ts";
import { adapted, batchOf, rowsOf, stepOn } from "../helpers/training_step.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";

for (
  const [name, file] of [
    ["tiny-llama-int4.all", "tiny-llama-genai-int4"],
    ["tiny-bert-int8.qv", "tiny-bert-dynamic-int8"],
  ]
) {
  testOnEachOrt(
    `PlannedModel with tensors on a device agrees with PyTorch + PEFT on ${file}`,
    async (ortLib) => {
      using runner = createOrtRunner({ threads: 2, spinning: false, ortLib, memory: "Cpu" });
      const report = await runOracle(runner, name, file, { keepBytes: 1e9 });
      assert(report.lossError <= 1e-4, `initial loss off by ${report.lossError}`);
      for (const [parameter, error] of report.gradientErrors) {
        assert(error <= 1e-3, `gradient of ${parameter} off by ${error}`);
      }
      assert(report.lossCurveError <= 1e-3, `loss curve off by ${report.lossCurveError}`);
    },
  );
}

for (
  const [name, file] of [
    ["tiny-llama-int4.all", "tiny-llama-genai-int4"],
    ["tiny-bert-int8.qv", "tiny-bert-dynamic-int8"],
  ]
) {
  testNeeding(
    softwareVulkanMissing(),
    "GRAFT_REQUIRE_TOOLS",
    `PlannedModel on WebGPU agrees with PyTorch + PEFT on ${file}`,
    async () => {
      using runner = createOrtRunner({ wish: { names: ["webgpu"], options: [] } });
      assert(runner.onDevice);
      const report = await runOracle(runner, name, file, { keepBytes: 1e9 });
      assert(report.lossError <= 1e-4, `initial loss off by ${report.lossError}`);
      for (const [parameter, error] of report.gradientErrors) {
        assert(error <= 1e-3, `gradient of ${parameter} off by ${error}`);
      }
      assert(report.lossCurveError <= 1e-3, `loss curve off by ${report.lossCurveError}`);
    },
  );
}

Deno.test("weights, gradients and moments stay on the device from step to step", async () => {
  using runner = createOrtRunner({ threads: 1, memory: "Cpu" });
  using step = stepOn(runner, "tiny-llama-torch-fp32");
  const batch = batchOf(rowsOf([9, 7]), 10, "causal");
  await step.accumulate(batch, 0);
  const before = { ...runner.traffic };
  await step.accumulate(batch, 0);
  const uploaded = runner.traffic.uploadedBytes - before.uploadedBytes;
  // Tokens, mask, labels and where they lie go up, the loss comes back.
  assert(uploaded < 4000, `${uploaded} bytes went up`);
  assertEquals(runner.traffic.readBytes - before.readBytes, 4);
});

const MODEL = "tiny-llama-torch-fp32";

/** @param negate whether the provider's parameters are the negative of what they should be */
async function compare(
  runner: Runner,
  processor: Runner,
  negate = false,
): Promise<PreparationEvent[]> {
  const events: PreparationEvent[] = [];
  const options = {
    runner,
    ...adapted(readModel(modelDir(MODEL)), { dropout: 0 }),
    objective: "causal",
  } as const;
  using step = new PlannedModel(options);
  for (const { value } of negate ? step.parameters : []) {
    const { dims } = value;
    value.write(float32(dims, Float32Array.from(toNumbers(value.read()), (x) => -Number(x))));
  }
  const batch = batchOf(rowsOf([9, 7]), 10, "causal");
  await checkProvider(step, options, processor, batch, (event) => void events.push(event));
  return events;
}

function assertAgrees([event]: PreparationEvent[], { description }: Runner): void {
  if (event.kind !== "provider checked") throw new Error(`Found ${event.kind}`);
  assertEquals([event.runtime, event.cosine.toFixed(4)], [description, "1.0000"]);
}

Deno.test("checkProvider() goes on where the gradients agree, and says how well", async () => {
  using runner = createOrtRunner({ threads: 1 });
  assertAgrees(await compare(runner, runner), runner);
});

Deno.test("checkProvider() refuses gradients that are not the processor's", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const error = await assertRejects(() => compare(runner, runner, true), RefusedError);
  assertStringIncludes(error.message, "another gradient of the first batch than the processor");
  assertStringIncludes(error.message, "train with ep: cpu");
  assertStringIncludes(error.worded(asFlag), "train with --ep cpu");
});

testNeeding(
  libraryMissing("GRAFT_OPENVINO_ORT"),
  "GRAFT_REQUIRE_TOOLS",
  "checkProvider() finds the processor's gradients on a provider that computes them right",
  async () => {
    const ortLib = Deno.env.get("GRAFT_OPENVINO_ORT");
    const options = { device_type: "CPU", precision: "FP32" };
    const told: string[] = [];
    using processor = createOrtRunner({ ortLib, threads: 1 });
    {
      using runner = createOrtRunner({
        ortLib,
        threads: 1,
        providers: [{ name: "OpenVINO", options }],
        note: (line) => told.push(worded(line)),
      });
      assertAgrees(await compare(runner, processor), runner);
    }
    assertStringIncludes(told[0], "openvino runs");
  },
);
