import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { EXIT } from "../../src/errors.ts";
import { withCache } from "../helpers/cache_folder.ts";
import { withEnvironment } from "../helpers/environment.ts";
import { MINILM_DIR, modelDir } from "../helpers/fixture_models.ts";
import { pairs } from "../helpers/training_runs.ts";
import { graft, graftProcess, type GraftResult } from "../helpers/graft.ts";

const LLAMA = modelDir("tiny-llama-genai-int4");

async function benchJson(...args: string[]) {
  return jsonOf(await graft("bench", ...args, "--json", "--threads", "1"));
}

/** As {@linkcode benchJson}, for what starts itself again, or measures the memory of its process. */
async function benchProcessJson(...args: string[]) {
  return jsonOf(await graftProcess("bench", ...args, "--json", "--threads", "1"));
}

function jsonOf({ code, stdout, stderr }: GraftResult) {
  assertEquals(code, EXIT.ok, stderr);
  return { found: JSON.parse(stdout), stderr };
}

Deno.test("bench kernels measures a model's shapes once, keeps them, and again on --refresh", () =>
  withCache(async (directory) => {
    const args = ["kernels", "--model", LLAMA, "--tokens", "8"];
    const { found: first } = await benchJson(...args);
    assertEquals(Object.keys(first), [
      "processor",
      "threads",
      "runtime",
      "measured_at",
      "measured_now",
      "cache_file",
      "dequant_form",
      "integer_form",
      "sliced",
      "kernels",
    ]);
    // 128×64, 64×64, 64×128 and the head's 512×64.
    assertEquals(first.measured_now, 4);
    assert(first.cache_file.startsWith(directory));
    const shapes = new Set(
      first.kernels.map(({ rows, columns }: Record<string, number>) => `${rows}x${columns}`),
    );
    assertEquals(shapes, new Set(["128x64", "64x64", "64x128", "512x64"]));
    for (const kernel of first.kernels) {
      assertEquals(Object.keys(kernel), [
        "form",
        "rows",
        "columns",
        "bits",
        "block_size",
        "tokens",
        "milliseconds",
        "gflops",
        "saturates",
      ]);
      assertAlmostEquals(
        kernel.gflops,
        2 * kernel.rows * kernel.columns * 8 / kernel.milliseconds / 1e6,
        1e-9,
      );
    }
    const { found: second } = await benchJson(...args);
    assertEquals(second, { ...first, measured_now: 0 });
    const { found: third } = await benchJson(...args, "--refresh");
    assertEquals(third.measured_now, 4);
    assert(third.measured_at > first.measured_at);
    // Other products are added to those that are there.
    const { found: wider } = await benchJson("kernels", "--model", LLAMA, "--tokens", "8,16");
    assertEquals(wider.measured_now, 4);
    assertEquals(wider.kernels.length, 2 * first.kernels.length);
  }));

Deno.test("bench train counts made-up tokens, and tells where a step's time goes", async () => {
  const { found } = await benchJson(
    ...["train", "--model", LLAMA, "--batch-size", "3", "--length", "20", "--steps", "4"],
    ...["--rank", "4", "--target-modules", "q,v", "--target-share", "0.5"],
  );
  const [figures] = found.configurations;
  assertEquals(found.configurations.length, 1);
  assertEquals(figures.tokens, 4 * 3 * 20);
  assertEquals(figures.targets, 4 * 3 * 10);
  // q: 4·(64 + 64), v: 4·(64 + 32), in two layers.
  assertEquals(figures.trainable_parameters, 2 * 4 * (128 + 96));
  const phases = ["forward_ms", "head_ms", "backward_ms", "optimizer_ms", "other_ms"];
  for (const phase of phases) assert(figures[phase] > 0, `${phase}: ${figures[phase]}`);
  const sum = phases.reduce((total, phase) => total + figures[phase], 0);
  assertAlmostEquals(figures.tokens_per_s, 3 * 20 / sum * 1000, 1e-6 * figures.tokens_per_s);
  assert(figures.peak_rss_mb > 20);
  assert(Number.isFinite(figures.loss));
});

Deno.test("bench train counts the user's own tokens without padding", async () => {
  const data = Deno.makeTempFileSync({ suffix: ".jsonl" });
  try {
    const texts = ["my card", "where is my new card and when will it come", "a", "how do I pay"];
    Deno.writeTextFileSync(data, texts.map((text) => JSON.stringify({ text })).join("\n"));
    const { found, stderr } = await benchJson(
      ...["train", "--model", LLAMA, "--data", data, "--batch-size", "4", "--steps", "2"],
    );
    const [, tokens] = /Training: 4 rows, ([\d,]+) tokens/.exec(stderr)!;
    assertEquals(found.configurations[0].tokens, 2 * Number(tokens.replaceAll(",", "")));
  } finally {
    Deno.removeSync(data);
  }
});

Deno.test("bench train sweeps over lists, each combination in a process of its own", async () => {
  const { found } = await benchProcessJson(
    ...["train", "--model", modelDir("tiny-bert-dynamic-int8"), "--batch-size", "1,2"],
    ...["--length", "8,16", "--num-layers", "1", "--steps", "1"],
  );
  assertEquals(
    found.configurations.map(({ batch, length, num_layers, tokens }: Record<string, number>) => [
      batch,
      length,
      num_layers,
      tokens,
    ]),
    [[1, 8, 1, 8], [1, 16, 1, 16], [2, 8, 1, 16], [2, 16, 1, 32]],
  );
});

Deno.test("bench train measures in the numeric setting that is asked for, and says which it was", async () => {
  const { found } = await benchJson(
    ...["train", "--model", LLAMA, "--batch-size", "2", "--length", "16", "--steps", "1"],
    ...["--numeric", "fast"],
  );
  assertEquals(found.configurations[0].numeric, "fast");
});

Deno.test("bench train --profile shares out a step's time among operators", async () => {
  const { found } = await benchProcessJson(
    ...["train", "--model", LLAMA, "--batch-size", "2", "--length", "16,24", "--steps", "2"],
    "--profile",
  );
  for (const figures of found.configurations) {
    const operators: Record<string, number>[] = Object.values(figures.operators_ms);
    for (const phase of ["forward", "head", "backward", "optimizer"]) {
      const inside = operators.reduce((sum, phases) => sum + (phases[phase] ?? 0), 0);
      // Between the nodes of a run there is little else.
      assert(inside > 0 && inside < figures[`${phase}_ms`], `${phase}: ${inside} ms`);
    }
  }
});

Deno.test("bench train ends as graft train does where a configuration of a sweep cannot run", async () => {
  const { code, stderr } = await graftProcess(
    ...["bench", "train", "--model", LLAMA, "--rank", "4,8", "--target-modules", "nothing"],
  );
  assertEquals(code, EXIT.usage);
  assertStringIncludes(stderr, "no such module");
  assertStringIncludes(stderr, "Cannot measure the configuration");
});

Deno.test("bench decode times a model in turn with another", async () => {
  const { found } = await benchJson(
    ...["decode", "--model", LLAMA, "--against", modelDir("tiny-llama-genai-fp32")],
    ...["--prompt-tokens", "8", "--tokens", "4", "--rounds", "2"],
  );
  assertEquals(found.models.length, 2);
  for (const model of found.models) {
    assertAlmostEquals(model.prefill_tokens_per_s, 8000 / model.prefill_ms, 1e-6);
    assertAlmostEquals(model.decode_tokens_per_s, 1000 / model.token_ms, 1e-6);
  }
  for (const part of ["prefill", "decode"]) {
    assert(found[`${part}_ratio`] > 0 && found[`${part}_control_ratio`] > 0, part);
  }
});

Deno.test("bench decode refuses a model that does not generate, by name", async () => {
  const { code, stderr } = await graft("bench", "decode", "--model", MINILM_DIR);
  assertEquals(code, EXIT.usage);
  assertStringIncludes(stderr, "it is not a language model");
});

Deno.test("bench merge tells time and memory, and leaves nothing behind", async () => {
  const temporary = Deno.makeTempDirSync();
  try {
    const { found } = await withEnvironment(
      { TMPDIR: temporary },
      () => benchProcessJson("merge", "--model", LLAMA, "--target-modules", "all-linear"),
    );
    assertEquals(found.modules, 14);
    assertEquals(found.merged_mb, found.model_mb);
    assert(found.seconds > 0 && found.peak_rss_mb > found.added_mb);
    assert(found.stages.nearest > 0 && found.stages.nearest < found.seconds);
    const left = [...Deno.readDirSync(temporary)].filter(({ name }) => name.startsWith("graft"));
    assertEquals(left, []);
  } finally {
    Deno.removeSync(temporary, { recursive: true });
  }
});

Deno.test("bench start waits for the first result of fresh processes", async () => {
  const { found } = await benchProcessJson("start", "--model", LLAMA, "--rounds", "1");
  assert(found.median_s > 0.05, `${found.median_s} s is less than a process takes`);
  // A vector ends its process, which may be gone before it is looked at.
  await benchProcessJson("start", "--model", "models/all-minilm-l6-v2-int8", "--rounds", "3");
  const { code, stderr } = await graftProcess(
    ...["bench", "start", "--model", LLAMA, "--ort-lib", "/nowhere.so", "--rounds", "1"],
  );
  assertEquals(code, EXIT.refused);
  assertStringIncludes(stderr, "/nowhere.so");
});

Deno.test("bench says what it can measure", async () => {
  const none = await graft("bench");
  assertEquals(none.code, EXIT.usage);
  assertStringIncludes(none.stderr, "train, methods, kernels, merge, decode or start");
  const unknown = await graft("bench", "trian");
  assertEquals(unknown.code, EXIT.usage);
  assertStringIncludes(unknown.stderr, 'did you mean "bench train"?');
  const help = await graft("help", "bench", "train");
  assertEquals(help.code, EXIT.ok);
  assertStringIncludes(help.stdout, "--target-share");
});

Deno.test("bench methods trains, merges and times each method beside its base", async () => {
  const folder = await Deno.makeTempDir();
  const [plot, data] = [`${folder}/methods.svg`, `${folder}/pairs.jsonl`];
  await Deno.writeTextFile(data, pairs(16));
  try {
    const { found } = await benchProcessJson(
      ...["methods", "--model", LLAMA, "--data", data, "--validation-split", "0.25"],
      ...["--methods", "lora,houlsby", "--rank", "2", "--target-modules", "q", "--iters", "1"],
      ...["--learning-rates", "lora=0.5", "--shapes", "1x4,2x8", "--seconds", "1", "--plot", plot],
    );
    const [base, again, merged, beside, houlsby] = found.methods;
    assertEquals(
      found.methods.map(({ method }: { method: string }) => method),
      ["base", "base again", "lora, merged", "lora", "houlsby"],
    );
    assertEquals(base.loss, again.loss);
    // Two layers of 2·(64 + 64).
    assertEquals(beside.trainable_parameters, 2 * 2 * 128);
    assertEquals(beside.learning_rate, 0.5);
    // Two bottlenecks of 64/16 in each of the two layers, with biases.
    assertEquals(houlsby.trainable_parameters, 2 * 2 * (2 * 64 * 4 + 4 + 64));
    assert(beside.tokens_per_s > 0 && beside.peak_rss_mb > 0);
    assert(beside.loss !== base.loss && merged.loss !== base.loss);
    for (const { latency } of found.methods) {
      assertEquals(
        latency.map(({ batch, length }: Record<string, number>) => [batch, length]),
        [[1, 4], [2, 8]],
      );
      assert(latency.every(({ ms, ratio }: Record<string, number>) => ms > 0 && ratio > 0));
    }
    assertEquals(base.latency.map(({ ratio }: Record<string, number>) => ratio), [1, 1]);
    assertStringIncludes(await Deno.readTextFile(plot), "lora, merged, 2×8: ");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
