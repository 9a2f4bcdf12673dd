import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { openAdapted } from "../../src/model/open_model.ts";
import { encodeModel } from "../../src/onnx/mod.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { adapterNumbers, pairs, readMetrics, sha256 } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const BASE = modelDir("tiny-llama-torch-fp32");

/** Learning rates that end in NaN, or in parameters so large that every gradient is zero. */
for (const rate of ["1e20", "1e38"]) {
  Deno.test(`graft train stops with the last good adapter at a learning rate of ${rate}`, () =>
    inTempDir(async (path) => {
      const data = join(path, "pairs.jsonl");
      Deno.writeTextFileSync(data, pairs(8));
      const adapter = join(path, "adapter");
      const { code, stderr } = await graft(
        "train",
        ...["--model", BASE, "--data", data, "--adapter-path", adapter, "--threads=1"],
        ...["--iters=20", "--warmup-steps=4", "--lr-schedule=constant", "--steps-per-report=1"],
        ...["--learning-rate", rate],
      );
      assertEquals(code, 1, stderr);
      assertMatch(
        stderr,
        /step \d+ was skipped: (its loss|its gradient|the norm of its gradient) is/,
      );
      assertMatch(
        stderr,
        /Stopped at step \d+: .* has the adapter of step \d+.*lower --learning-rate/,
      );
      const numbers = adapterNumbers(adapter);
      assert(numbers.length > 0 && numbers.every(Number.isFinite), "the adapter is not finite");
      const losses = readMetrics(adapter).flatMap(({ loss }) => loss ?? []);
      assert(losses.length > 0 && losses.every(Number.isFinite), `losses ${losses}`);
      using opened = await openAdapted(BASE, adapter, () => {});
      assertEquals(opened.kind, "causal");
    }));
}

Deno.test("graft train --resume that diverges at once ends with the adapter of a run without a stop", () =>
  inTempDir(async (path) => {
    const data = join(path, "pairs.jsonl");
    Deno.writeTextFileSync(data, pairs(8));
    const run = (name: string, ...more: string[]) =>
      graft(
        ...["train", "--model", BASE, "--data", data, "--adapter-path", join(path, name)],
        ...["--threads=1", "--learning-rate=1e20", "--warmup-steps=2", "--lr-schedule=constant"],
        ...["--lr-decay-steps=20", "--val-batches=0", "--save-every=1", ...more],
      );
    const weights = (name: string) => sha256(join(path, name, "adapter_model.safetensors"));
    const straight = await run("straight", "--iters=20");
    assertEquals(straight.code, 1, straight.stderr);
    // Its last update is the one whose loss is no number, which only the next step would see.
    const last = Number(/has the adapter of step (\d+)/.exec(straight.stderr)![1]) + 1;
    const stopped = await run("stopped", `--iters=${last}`);
    assertEquals(stopped.code, 0, stopped.stderr);
    assert(await weights("stopped") !== await weights("straight"));
    const resumed = await run("stopped", "--iters=20", "--resume");
    assertEquals(resumed.code, 1, resumed.stderr);
    assertStringIncludes(resumed.stderr, `has the adapter of step ${last - 1}`);
    assertEquals(await weights("stopped"), await weights("straight"));
  }));

Deno.test("graft train names the weight that makes a base compute NaN", () =>
  inTempDir(async (path) => {
    const base = join(path, "base");
    Deno.mkdirSync(base);
    for (const { name } of Deno.readDirSync(BASE)) {
      Deno.copyFileSync(join(BASE, name), join(base, name));
    }
    const model = readModel(BASE);
    const [name, weight] = [...model.graph.initializers].find(([, { dims, dtype }]) =>
      dtype === "float32" && dims.join() === "64,128"
    )!;
    const values = Float32Array.from(toNumbers(weight));
    values[100] = NaN;
    const initializers = new Map(model.graph.initializers).set(name, float32([64, 128], values));
    const damaged = { ...model, graph: { ...model.graph, initializers } };
    Deno.writeFileSync(
      join(base, "model.onnx"),
      encodeModel(damaged, { external: () => "inline" }),
    );
    const data = join(path, "pairs.jsonl");
    Deno.writeTextFileSync(data, pairs(8));
    const adapter = join(path, "adapter");
    const { code, stderr } = await graft(
      ...["train", "--model", base, "--data", data, "--adapter-path", adapter, "--threads=1"],
    );
    assertEquals(code, 65, stderr);
    assertStringIncludes(stderr, `initializer "${name}" holds NaN at element 100`);
  }));
