/** Runs that a device records and plays back; on the host's memory as the device, and on WebGPU. */
import { assert, assertEquals } from "@std/assert";
import { over } from "../../src/bench/over.ts";
import { RuntimeFailure, worded } from "../../src/errors.ts";
import type { Model } from "../../src/graph/types.ts";
import { createOrtRunner, type OrtRunnerOptions } from "../../src/runtime/ort_runner.ts";
import type { BoundRunOptions, Executable, Runner } from "../../src/runtime/runner.ts";
import { CausalModel } from "../../src/serve/causal_model.ts";
import { argmax } from "../../src/statistics.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { softwareVulkanMissing } from "../helpers/software_vulkan.ts";

const PROMPT = [1, 45, 300, 17];

/** Tokens after a prompt, the most likely each time. */
async function generated(runner: Runner, model: Model, count: number): Promise<number[]> {
  using causal = await CausalModel.open(runner, model, "generated");
  const ids: number[] = [];
  for (let next = PROMPT; ids.length < count; next = ids.slice(-1)) {
    ids.push(argmax(await causal.advance(next)));
  }
  return ids;
}

/** A runner whose bound runs are told to `onRun`, which does them or does not. */
function watched(
  inner: Runner,
  onRun: (options: BoundRunOptions, run: () => Promise<void>) => Promise<void>,
): Runner {
  const watch = (executable: Executable) =>
    over(executable, {
      bind(feeds, outputs) {
        const bound = executable.bind(feeds, outputs);
        return over(bound, {
          run: (options: BoundRunOptions = {}) => onRun(options, () => bound.run(options)),
        });
      },
    });
  return over(inner, {
    compile: async (model, options) => watch(await inner.compile(model, options)),
  });
}

const HOST_AS_DEVICE: OrtRunnerOptions = { threads: 1, memory: "Cpu", records: true };
const tiny = () => readModel(modelDir("tiny-llama-genai-int4"));

Deno.test("CausalModel.open() gives recorded runs' tokens, also where the caches have grown", async () => {
  const count = 240;
  using plain = createOrtRunner({ threads: 1 });
  using runner = createOrtRunner(HOST_AS_DEVICE);
  let [recorded, others] = [0, 0];
  const watching = watched(runner, (options, run) => {
    if (options.recorded) recorded++;
    else others++;
    return run();
  });
  assertEquals(await generated(watching, tiny(), count), await generated(plain, tiny(), count));
  assertEquals(recorded, count - 1, "every token but the prompt's");
  // The prompt, and for each of two sizes of the caches the tokens that are read both ways.
  assertEquals(others, 1 + 2 * 3);
});

Deno.test("a recording that gives other logits is told of and not played back any more", async () => {
  const count = 12;
  const notes: string[] = [];
  using plain = createOrtRunner({ threads: 1 });
  using runner = createOrtRunner({ ...HOST_AS_DEVICE, note: (line) => notes.push(worded(line)) });
  let recorded = 0;
  // As a device that plays back what was at other addresses: the second time nothing changes.
  const stale = watched(runner, async (options, run) => {
    if (options.recorded && ++recorded > 1) return;
    await run();
  });
  assertEquals(await generated(stale, tiny(), count), await generated(plain, tiny(), count));
  assertEquals(recorded, 2);
  assertEquals(notes.length, 1);
  assert(/^Recorded runs are not played back: logits differ by \d/.test(notes[0]), notes[0]);
});

Deno.test("a run that cannot be recorded is told of, and the text goes on without", async () => {
  const notes: string[] = [];
  using plain = createOrtRunner({ threads: 1 });
  using runner = createOrtRunner({ ...HOST_AS_DEVICE, note: (line) => notes.push(worded(line)) });
  const failing = watched(runner, async ({ recorded }, run) => {
    if (recorded) throw new RuntimeFailure("the stream is being captured");
    await run();
  });
  assertEquals(await generated(failing, tiny(), 6), await generated(plain, tiny(), 6));
  assertEquals(notes, ["Recorded runs are not played back: the stream is being captured"]);
});

Deno.test("a model whose caches grow is run as ever where recording is wanted, and that is told", async () => {
  const notes: string[] = [];
  using plain = createOrtRunner({ threads: 1 });
  using runner = createOrtRunner({ ...HOST_AS_DEVICE, note: (line) => notes.push(worded(line)) });
  const model = readModel(modelDir("tiny-llama-torch-fp32"));
  assertEquals(await generated(runner, model, 4), await generated(plain, model, 4));
  assertEquals(notes.map((line) => line.split(":")[0]), ["Runs are not recorded"]);
});

testNeeding(
  softwareVulkanMissing(),
  "GRAFT_REQUIRE_TOOLS",
  "WebGPU records a token's run and plays it back to the tokens of runs that are not recorded",
  async () => {
    const wish = (options: string[]): OrtRunnerOptions => ({
      wish: { names: ["webgpu"], options },
      note: (line) => notes.push(worded(line)),
    });
    const notes: string[] = [];
    const tokensOf = async (options: string[]) => {
      using runner = createOrtRunner(wish(options));
      assertEquals([runner.onDevice, runner.records], [true, options.length > 0]);
      return await generated(runner, tiny(), 32);
    };
    assertEquals(await tokensOf(["enableGraphCapture=1"]), await tokensOf([]));
    assert(notes.every((line) => !/ecorded/.test(line)), notes.join("\n"));
  },
);
