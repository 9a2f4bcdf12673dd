import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { timedRunner } from "../../src/bench/timed_runner.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { ActivationFile } from "../../src/train/activation_file.ts";
import type { PlannedModel } from "../../src/train/planned_model.ts";
import {
  assertSame,
  batchOf,
  gradientDistance,
  gradientsOf,
  type Row,
  rowsOf,
  STEP_MODELS,
  type StepHow,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";
import { sampled } from "../helpers/sampled.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LENGTHS = [5, 12, 9, 3, 16, 7];
/** An adapter in the second of two layers: the first is frozen. */
const LAST_LAYER = { layers: [1] };

interface Parts {
  /** Reads and keeps activations. */
  readonly keeping: PlannedModel;
  /** The same model without. */
  readonly plain: PlannedModel;
  readonly file: ActivationFile;
  readonly path: string;
  /** Runs of sessions while something is done. */
  runsOf(body: () => Promise<unknown>): Promise<number>;
}

function withModels(
  name: StepModelName,
  body: (parts: Parts) => Promise<void>,
  how: StepHow = {},
): Promise<void> {
  return inTempDir(async (folder) => {
    let runs = 0;
    using runner = timedRunner(createOrtRunner({ threads: 1 }), () => runs++);
    using keeping = stepOn(runner, name, how, LAST_LAYER);
    using plain = stepOn(runner, name, how, LAST_LAYER);
    const options = { identity: name, limitBytes: 1e7, resume: false };
    const path = join(folder, "activations");
    using file = ActivationFile.open(path, options)!;
    keeping.activations = file;
    const runsOf = async (body: () => Promise<unknown>) => {
      const before = runs;
      await body();
      return runs - before;
    };
    await body({ keeping, plain, file, path, runsOf });
  });
}

for (const [model, objective] of sampled(Object.entries(STEP_MODELS))) {
  const name = model as StepModelName;
  const batch = (rows: readonly Row[], length = 40) => batchOf(rows, length, objective);

  Deno.test(`accumulate() with kept activations gives the gradient without, in batches of any kind, ${name}`, () =>
    withModels(name, async ({ keeping, plain, file, runsOf }) => {
      const rows = rowsOf(LENGTHS);
      const first = await gradientsOf(keeping, [batch(rows)]);
      assertEquals(file.count, rows.length);
      assertEquals(await gradientsOf(keeping, [batch(rows)]), first, "the same batch, to the bit");
      const others = [
        batch(rows),
        batch([rows[4], rows[0]], 16), // not packed
        batch([...rows].reverse(), 64),
        batch([rows[2]], 9),
        batch([rows[1], ...rowsOf([3, 8, 13])], 24), // some are new
      ];
      for (const other of others) {
        const expected = await gradientsOf(plain, [other]);
        const found = await gradientsOf(keeping, [other]);
        assertSame(found, expected, 1e-5, 1e-6);
      }
      // Each sequence was computed once, whatever the shapes of its batches.
      assertEquals(file.count, rows.length + 3);
      const { frozen } = keeping.planOf(batch(rows));
      const saved = await runsOf(() => plain.accumulate(batch(rows), 0)) -
        await runsOf(() => keeping.accumulate(batch(rows), 0));
      const frozenRuns = frozen!.end - frozen!.start;
      assert(frozenRuns >= 2, `${frozenRuns} runs are frozen`);
      assertEquals(saved, frozenRuns);
    }));

  Deno.test(`evaluate() reads kept activations, ${name}`, () =>
    withModels(name, async ({ keeping, plain, runsOf }) => {
      const rows = batch(rowsOf(LENGTHS));
      const expected = await plain.evaluate(rows);
      await keeping.accumulate(rows, 0);
      const found = await keeping.evaluate(rows);
      assert(Math.abs(found.lossSum / expected.lossSum - 1) <= 1e-6, `loss ${found.lossSum}`);
      assertEquals(found.correct, expected.correct);
      const saved = await runsOf(() => plain.evaluate(rows)) -
        await runsOf(() => keeping.evaluate(rows));
      assert(saved >= 2, `${saved} runs saved`);
    }));

  Deno.test(`accumulate() keeps the activations of a sequence once, ${name}`, () =>
    withModels(name, async ({ keeping, file }) => {
      const [row, other] = rowsOf([12, 9]);
      const twice = batch([row, other, row]);
      const first = await gradientsOf(keeping, [twice]);
      assertEquals(file.count, 2);
      assertEquals(await gradientsOf(keeping, [twice]), first);
      // Cut short, it is another sequence.
      await keeping.accumulate(batch([{ ...row, ids: row.ids.slice(0, 11) }], 16), 0);
      assertEquals(file.count, 3);
    }));
}

Deno.test("evaluate() reads nothing that the fast setting has computed", () =>
  withModels("tiny-llama-genai-int4", async ({ keeping, plain, file }) => {
    const batch = batchOf(rowsOf(LENGTHS), 40, "causal");
    await keeping.accumulate(batch, 0);
    assertEquals(file.count, LENGTHS.length);
    const found = await keeping.evaluate(batch);
    assertEquals(file.count, 2 * LENGTHS.length);
    const expected = await plain.evaluate(batch);
    assert(Math.abs(found.lossSum / expected.lossSum - 1) <= 1e-6, `loss ${found.lossSum}`);
  }, { numeric: "fast" }));

Deno.test("accumulate() goes on with damaged activations as without any", () =>
  withModels("tiny-bert-dynamic-int8", async ({ keeping, plain, file, path }) => {
    const batch = batchOf(rowsOf(LENGTHS), 40, "classification");
    await keeping.accumulate(batch, 0);
    const bytes = Deno.readFileSync(path);
    const whole = bytes.length;
    bytes.fill(0x7f, 100, 104); // in the first sequence's record
    Deno.writeFileSync(path, bytes);
    const expected = await gradientsOf(plain, [batch]);
    const { parameter, error } = gradientDistance(await gradientsOf(keeping, [batch]), expected);
    assert(error <= 1e-5, `gradient of ${parameter} off by ${error}`);
    assertEquals(file.count, LENGTHS.length);
    assert(file.sizeBytes > whole, "the damaged record was not written again");
  }));

Deno.test("planTraining() finds nothing frozen below an adapter in the first layer", () => {
  using runner = createOrtRunner({ threads: 1 });
  using step = stepOn(runner, "tiny-llama-genai-int4");
  assertEquals(step.planOf(batchOf(rowsOf(LENGTHS), 40, "causal")).frozen, undefined);
});
