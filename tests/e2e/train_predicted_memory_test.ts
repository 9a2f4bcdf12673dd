import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import { MINILM_DIR, modelDir } from "../helpers/fixture_models.ts";
import { graftProcess as graft } from "../helpers/graft.ts";
import { measureTraining, predictedMbIn } from "../helpers/measured_training.ts";
import { sampled } from "../helpers/sampled.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { readMetrics } from "../helpers/training_runs.ts";

/** Largest error of a prediction; `scripts/figures/memory.ts` has more configurations. */
const TOLERANCE = 0.15;

/** Rows longer than any length here, of two classes: sentences of the quickstart's data in a row. */
function longRows(path: string): string {
  const file = join(path, "rows.csv");
  const url = new URL("../../models/quickstart/train.csv", import.meta.url);
  const sentences = Deno.readTextFileSync(url).trim().split("\n").slice(1)
    .map((line) => line.replaceAll('"', "").replace(/,[^,]*$/, ""));
  const rows = Array.from({ length: 32 }, (_, i) => {
    const row = Array.from(
      { length: 60 },
      (_, k) => sentences[(60 * i + 7 * k) % sentences.length],
    );
    return `"${row.join(" ")}",class ${i % 2}`;
  });
  Deno.writeTextFileSync(file, ["text,label", ...rows, ""].join("\n"));
  return file;
}

const run = (path: string, ...args: string[]) => [
  ...["--model", MINILM_DIR, "--data", longRows(path), "--adapter-path", join(path, "adapter")],
  // Idle threads would spin on the cores of other tests.
  ...["--target-modules", "query,value", "--iters", "2", "--threads", "1", ...args],
];

const CONFIGURATIONS = {
  "all recomputed": ["--batch-size", "16", "--max-seq-length", "64", "--grad-checkpoint"],
  "all kept, fast": [
    ...["--batch-size", "16", "--max-seq-length", "96", "--no-grad-checkpoint"],
    ...["--numeric", "fast"],
  ],
};

for (const [name, args] of sampled(Object.entries(CONFIGURATIONS), 1)) {
  Deno.test(`graft train predicts its peak memory, ${name}`, () =>
    inTempDir(async (path) => {
      const { predictedMb, measuredMb } = await measureTraining(run(path, ...args));
      const error = predictedMb / measuredMb - 1;
      assert(Math.abs(error) <= TOLERANCE, `${predictedMb} MB predicted, ${measuredMb} MB taken`);
    }));
}

Deno.test("graft train keeps less and takes fewer rows at once to fit --memory-budget", () =>
  inTempDir(async (path) => {
    const size = ["--batch-size", "8", "--max-seq-length", "128"];
    const { predictedMb, measuredMb, notes } = await measureTraining(
      run(path, ...size, "--memory-budget", "220M", "--iters", "1"),
    );
    assert(predictedMb <= 220, notes);
    assert(measuredMb <= 220 * (1 + TOLERANCE), `${measuredMb} MB`);
    assert(/batches run \d+ tokens at a time/.test(notes), notes);
  }));

Deno.test("graft train refuses what does not fit, with the numbers and a length that does", () =>
  inTempDir(async (path) => {
    const train = async (length: string, budget: string) =>
      await graft(
        ...["train", ...run(path, "--batch-size", "2", "--max-seq-length", length)],
        ...["--memory-budget", budget, "--iters", "1"],
      );
    const nothing = await train("256", "1M");
    assertEquals(nothing.code, EXIT.refused, nothing.stderr);
    const [, longest, shortest] =
      /1×256 tokens take (\d+) MB .*even 16 tokens would take (\d+) MB/.exec(nothing.stderr) ?? [];
    assert(Number(longest) > Number(shortest) + 8, nothing.stderr);
    const budget = `${Number(shortest) + 4}M`;
    const { code, stderr } = await train("256", budget);
    assertEquals(code, EXIT.refused, stderr);
    const [, length] = /1×256 tokens take \d+ MB .*--max-seq-length (\d+) would/.exec(stderr) ?? [];
    assert(length !== undefined, stderr);
    const fits = await train(length, budget);
    assertEquals(fits.code, EXIT.ok, fits.stderr);
  }));

Deno.test("graft train divides a sequence among fewer threads to fit --memory-budget, and goes on so", () =>
  inTempDir(async (path) => {
    const text = "the card that was lost has come back ".repeat(60);
    Deno.writeTextFileSync(join(path, "rows.jsonl"), JSON.stringify({ text }) + "\n");
    const train = async (adapter: string, ...args: string[]) => {
      const { code, stderr } = await graft(
        ...["train", "--adapter-path", join(path, adapter), ...args],
      );
      assertEquals(code, EXIT.ok, stderr);
      return {
        stderr,
        predictedMb: predictedMbIn(stderr),
        losses: readMetrics(join(path, adapter)).flatMap(({ loss }) => loss ?? []),
      };
    };
    const settings = [
      ...["--model", modelDir("tiny-llama-genai-int4"), "--data", join(path, "rows.jsonl")],
      ...["--batch-size", "1", "--iters", "4", "--steps-per-report", "1", "--grad-checkpoint"],
      ...["--learning-rate", "0.01", "--threads", "2"],
    ];
    const note = "  sequences are not divided for the threads, to fit, which is slower\n";
    const divided = await train("divided", ...settings);
    assert(!divided.stderr.includes(note), divided.stderr);
    const fitting = ["--memory-budget", `${divided.predictedMb - 4}M`];
    const whole = await train("whole", ...settings, ...fitting);
    assertStringIncludes(whole.stderr, note);
    assert(whole.predictedMb < divided.predictedMb - 4, whole.stderr);
    for (const [i, loss] of whole.losses.entries()) {
      assertAlmostEquals(loss, divided.losses[i], 1e-4 * loss);
    }
    assertEquals(whole.losses.length, 4);
    // A run that goes on divides as it did, whatever memory there is by then.
    const on = await train("whole", "--resume", "--iters", "6", "--memory-budget", "1G");
    assert(on.predictedMb < divided.predictedMb - 4, on.stderr);
  }));
