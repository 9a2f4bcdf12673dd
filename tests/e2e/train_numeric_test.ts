import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { kernelSource, saveKernels } from "../../src/kernels/kernel_cache.ts";
import { FLOAT_ROWS, formsFor, slicedKernel } from "../../src/kernels/kernel_graphs.ts";
import type { Model } from "../../src/graph/types.ts";
import { encodeModel } from "../../src/onnx/mod.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { withCache } from "../helpers/cache_folder.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { graft, graftStopped } from "../helpers/graft.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import { quantized } from "../helpers/quantized_model.ts";
import { withOutlier } from "../helpers/outlier_model.ts";
import { pairs, readMetrics, sha256 } from "../helpers/training_runs.ts";
import { inTime } from "../helpers/in_time.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** The arguments of a short run in `fast` over the data it writes. */
function argsOf(path: string, model: string): string[] {
  const data = join(path, "pairs.jsonl");
  Deno.writeTextFileSync(data, pairs(20));
  return [
    ...["train", "--model", model, "--data", data, "--threads=1", "--numeric=fast"],
    ...["--iters=25", "--save-every=3", "--steps-per-report=1", "--learning-rate=1e-2"],
  ];
}

/** A folder with what is made of a model in floats. */
function modelIn(path: string, make: (floats: Model) => Model): string {
  const base = modelDir("tiny-llama-torch-fp32");
  const model = join(path, "model");
  Deno.mkdirSync(model);
  for (const { name } of Deno.readDirSync(base)) {
    Deno.copyFileSync(join(base, name), join(model, name));
  }
  Deno.writeFileSync(join(model, "model.onnx"), encodeModel(make(readModel(base))));
  return model;
}

/** The line of metrics.jsonl that tells of the comparison. */
const comparison = (adapter: string) =>
  Deno.readTextFileSync(join(adapter, "metrics.jsonl")).trim().split("\n")
    .map((line) => JSON.parse(line)).filter(({ numeric }) => numeric !== undefined);

const config = (adapter: string) => Deno.readTextFileSync(join(adapter, "graft_config.yaml"));
const firstLoss = (adapter: string) => readMetrics(adapter).find(({ loss }) => loss)!.loss;
const weights = (adapter: string) => sha256(join(adapter, "adapter_model.safetensors"));

Deno.test("graft train --numeric fast prints the cosine, records it, and goes on in fast over a resume", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const args = argsOf(path, modelDir("tiny-llama-genai-int4"));
      const straight = join(path, "straight");
      const whole = await graft(...args, "--adapter-path", straight);
      assertEquals(whole.code, 0, whole.stderr);
      const printed = whole.stderr.match(
        /Numeric setting fast: .*cosine (0\.99\d+), relative error/,
      );
      assert(printed !== null, whole.stderr);
      const [line, ...more] = comparison(straight);
      assertEquals([line.step, line.numeric, more.length], [0, "fast", 0]);
      assertEquals(line.fast_cosine.toFixed(4), printed?.[1]);
      assert(line.fast_relative_error > 0 && line.fast_relative_error < 0.1);
      assertStringIncludes(config(straight), "numeric: fast");

      const broken = join(path, "broken");
      const stopped = await graftStopped(/step 4\//, ...args, "--adapter-path", broken);
      assertEquals(stopped.code, 130, stopped.stderr);
      const other = await graft(...args, "--adapter-path", broken, "--resume", "--numeric=exact");
      assertEquals(other.code, 2, other.stderr);
      assertStringIncludes(other.stderr, '--numeric was "fast": current value is "exact"');
      const hint = stopped.stderr.match(/To go on: graft (.*)/)!;
      const resumed = await graft(...hint[1].split(" "));
      assertEquals(resumed.code, 0, resumed.stderr);
      assertEquals(await weights(broken), await weights(straight));
      assertEquals(comparison(broken).length, 1);

      const exact = join(path, "exact");
      const inFloats = ["--numeric=exact", "--iters=2"];
      const floats = await graft(...args, "--adapter-path", exact, ...inFloats);
      assertEquals(floats.code, 0, floats.stderr);
      assert(!floats.stderr.includes("Numeric setting"), floats.stderr);
      assert(firstLoss(exact) !== firstLoss(straight), "fast computes in 8 bits");
    })
  ));

Deno.test("graft train --numeric fast rotates weights of 8 bits where it needs that, and at once on a resume", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const model = modelIn(
        path,
        (floats) => quantized(withOutlier(floats, 30), { bits: 8, minElements: 1024 }),
      );
      const args = argsOf(path, model);
      const predicted = (stderr: string) => stderr.match(/Memory: about/g)?.length;
      const straight = join(path, "straight");
      const whole = await graft(...args, "--adapter-path", straight);
      assertEquals(whole.code, 0, whole.stderr);
      assertStringIncludes(whole.stderr, "fast, weights of 8 bits rotated and rounded anew: its");
      assertEquals(predicted(whole.stderr), 2);
      const [line] = comparison(straight);
      assertEquals(line.numeric, "fast");
      assert(line.fast_cosine > 0.98, `cosine ${line.fast_cosine}`);

      const broken = join(path, "broken");
      const stopped = await graftStopped(/step 4\//, ...args, "--adapter-path", broken);
      assertEquals(stopped.code, 130, stopped.stderr);
      const hint = stopped.stderr.match(/To go on: graft (.*)/)!;
      const resumed = await graft(...hint[1].split(" "));
      assertEquals([resumed.code, predicted(resumed.stderr)], [0, 1], resumed.stderr);
      assertEquals(await weights(broken), await weights(straight));
    })
  ));

/** Has the device of one thread be quicker in slices than in floats, or not. */
function pretendSlices(quicker: boolean): void {
  using runner = createOrtRunner({ threads: 1 });
  const [right] = RIGHT_FORMS;
  const times = new Map([[right, 1], [slicedKernel(right), quicker ? 1 : 3], [FLOAT_ROWS, 2]]);
  const shape = { rows: 64, columns: 64, bits: 8 };
  saveKernels({
    ...kernelSource(runner, 1),
    measuredAt: "",
    timings: formsFor(shape).map(({ name }) => ({
      ...{ ...shape, tokens: 128, form: name, milliseconds: times.get(name) },
    })),
  });
}

Deno.test("graft train multiplies 8-bit weights in integers where that is quicker, and goes on so over a resume", () =>
  inTime(() =>
    withCache(() =>
      inTempDir(async (path) => {
        const model = modelIn(path, (floats) => quantized(floats, { bits: 8, minElements: 1024 }));
        const args = [...argsOf(path, model), "--numeric=exact"];
        pretendSlices(false);
        const [floats, straight] = [join(path, "floats"), join(path, "straight")];
        const without = await graft(...args, "--adapter-path", floats, "--iters=2");
        assertEquals(without.code, 0, without.stderr);
        assert(!without.stderr.includes("in integers"), without.stderr);

        pretendSlices(true);
        const whole = await graft(...args, "--adapter-path", straight);
        assertEquals(whole.code, 0, whole.stderr);
        assertMatch(whole.stderr, /activations in 16 bits: .* relative error 0\.0\d+%/);
        assert(firstLoss(straight) !== firstLoss(floats), "slices are not floats");

        const broken = join(path, "broken");
        const stopped = await graftStopped(/step 4\//, ...args, "--adapter-path", broken);
        assertEquals(stopped.code, 130, stopped.stderr);
        pretendSlices(false);
        const resumed = await graft(...args, "--adapter-path", broken, "--resume");
        assertEquals(resumed.code, 0, resumed.stderr);
        assertEquals(await weights(broken), await weights(straight));
      })
    )
  ));

Deno.test("graft train goes on in floats where 16 bits lose the gradient, and says so", () =>
  withCache(() =>
    inTempDir(async (path) => {
      pretendSlices(true);
      const model = modelIn(
        path,
        (floats) => quantized(withOutlier(floats, 3e4), { bits: 8, minElements: 1024 }),
      );
      const args = [...argsOf(path, model), "--numeric=exact", "--iters=8"];
      const [fallen, exact] = [join(path, "fallen"), join(path, "exact")];
      const run = await graft(...args, "--adapter-path", fallen);
      assertEquals(run.code, 0, run.stderr);
      assertMatch(run.stderr, /at most 0\.1% is allowed; going on in floats/);
      pretendSlices(false);
      const floats = await graft(...args, "--adapter-path", exact);
      assertEquals(floats.code, 0, floats.stderr);
      assertEquals(await weights(fallen), await weights(exact));
    })
  ));

Deno.test("graft train --numeric fast goes on in exact where 8 bits lose the gradient, and says so", () =>
  inTempDir(async (path) => {
    const model = modelIn(path, (floats) => withOutlier(floats, 1e5));
    const args = [...argsOf(path, model), "--iters=8"];
    const [fallen, exact] = [join(path, "fallen"), join(path, "exact")];
    const run = await graft(...args, "--adapter-path", fallen);
    assertEquals(run.code, 0, run.stderr);
    assertStringIncludes(run.stderr, "the cosine must be >= 0.98; going on in exact");
    const [line] = comparison(fallen);
    assertEquals(line.numeric, "exact");
    assert(line.fast_cosine < 0.98);
    assertStringIncludes(config(fallen), "numeric: exact");
    const floats = await graft(...args, "--adapter-path", exact, "--numeric=exact");
    assertEquals(floats.code, 0, floats.stderr);
    assertEquals(await weights(fallen), await weights(exact));
  }));
