import { assert, assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import {
  batchOf,
  gradientDistance,
  gradientsOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

const LENGTHS = [5, 12, 9, 3, 16, 7];

for (const [model, objective] of Object.entries(STEP_MODELS)) {
  const name = model as StepModelName;

  Deno.test(`accumulate() without padding in its products gives the padded batch's gradient, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using packed = stepOn(runner, name);
    using padded = stepOn(runner, name, { packing: false });
    const batch = batchOf(rowsOf(LENGTHS), 40, objective);
    const real = LENGTHS.reduce((sum, length) => sum + length);
    const { packedRows } = packed.planOf(batch).options;
    assert(packedRows !== undefined && packedRows > real && packedRows < 6 * 40, `${packedRows}`);
    assertEquals(padded.planOf(batch).options.packedRows, undefined);
    const found = await gradientsOf(packed, [batch]);
    const expected = await gradientsOf(padded, [batch]);
    const off = Math.abs(found.loss - expected.loss) / expected.loss;
    assert(off <= 1e-6, `loss off by ${off}`);
    const { parameter, error } = gradientDistance(found, expected);
    assert(error <= 1e-5, `gradient of ${parameter} off by ${error}`);
  });

  Deno.test(`planTraining() keeps no padding between segments, ${name}`, () => {
    using runner = createOrtRunner({ threads: 1 });
    using packed = stepOn(runner, name);
    using padded = stepOn(runner, name, { packing: false });
    const batch = batchOf(rowsOf(LENGTHS), 40, objective);
    const { options, savedBytes } = packed.planOf(batch);
    const share = savedBytes / padded.planOf(batch).savedBytes;
    // What leads up to the first normalisation is padded still.
    const rows = options.packedRows! / (6 * 40);
    assert(share < rows + (1 - rows) / 2, `${share} of the bytes for ${rows} of the rows`);
  });
}
