import { assertEquals } from "@std/assert";
import type { TokenBatch } from "../../src/data/targets.ts";
import { type Arithmetic, arithmeticOf, numericOf } from "../../src/plan/arithmetic.ts";
import type { Numeric } from "../../src/plan/names.ts";
import { besideFloats, type ComparedModel } from "../../src/train/check_fast.ts";
import { quickerSetting, timeSettings } from "../../src/train/quicker_setting.ts";

/**
 * A model whose passes take what is given, in turn, on a clock of its own.
 *
 * @param entering what a pass takes longer that is in another setting than the one before
 */
function modelTaking(
  milliseconds: Readonly<Record<Numeric, readonly number[]>>,
  entering = 0,
) {
  let time = 0;
  let last: Numeric | undefined;
  const left = { exact: [...milliseconds.exact], fast: [...milliseconds.fast] };
  const step = {
    parameters: [],
    zeroGrad() {},
    accumulate(_batch: TokenBatch, _seed: number, { arithmetic }: { arithmetic: Arithmetic }) {
      const setting = numericOf(arithmetic);
      time += left[setting].shift()! + (setting === last ? 0 : entering);
      last = setting;
      return Promise.resolve({ loss: 0, targets: 1 });
    },
  };
  return { step: step as unknown as ComparedModel, now: () => time, last: () => last };
}

const BATCHES = [{}] as TokenBatch[];

Deno.test("timeSettings() has the shortest pass of each setting, that of fast last", async () => {
  const { step, now, last } = modelTaking({ exact: [900, 300, 310], fast: [950, 250, 700] });
  const both = besideFloats(arithmeticOf({ numeric: "fast" }));
  assertEquals(await timeSettings(step, both, BATCHES, now), { exact: 300, fast: 250 });
  assertEquals(last(), "fast");
});

Deno.test("timeSettings() leaves out what a change of setting takes", async () => {
  const { step, now } = modelTaking({ exact: [390, 390, 390], fast: [290, 290, 290] }, 200);
  const both = besideFloats(arithmeticOf({ numeric: "fast" }));
  assertEquals(await timeSettings(step, both, BATCHES, now), { exact: 390, fast: 290 });
});

Deno.test("quickerSetting() leaves fast where exact is clearly quicker in passes long enough to tell", () => {
  assertEquals(quickerSetting({ exact: 800, fast: 1000 }), "exact");
  assertEquals(quickerSetting({ exact: 980, fast: 1000 }), "fast");
  assertEquals(quickerSetting({ exact: 1000, fast: 800 }), "fast");
  assertEquals(quickerSetting({ exact: 20, fast: 40 }), "fast");
});
