/** Finds which numeric setting computes a model's gradients quicker on this device, by whole passes. */
import type { TokenBatch } from "../data/targets.ts";
import type { Numeric } from "../plan/names.ts";
import { type BothSettings, type ComparedModel, gradientOf } from "./check_fast.ts";

/**
 * Passes in each setting, of which the shortest counts. The first one makes the weights ready for the setting's
 * products, which takes longer than the passes of a few short sequences; no later step does it again.
 */
const PASSES = 3;
/** Passes shorter than this are not compared: other load on the machine decides their times. */
const LEAST_MILLISECONDS = 200;
/** The share of the requested setting's time below which `exact` is used. */
const MARGIN = 0.95;

/** Milliseconds of a forward and a backward pass in each setting. */
export type SettingTimes = Readonly<Record<Numeric, number>>;

/**
 * Times the gradients of some batches in both settings, whose sessions were compiled before; `fast` runs
 * last, so that its weights stay in memory. Accumulated gradients are dropped.
 *
 * @param now the clock, in milliseconds
 */
export async function timeSettings(
  step: ComparedModel,
  both: BothSettings,
  batches: readonly TokenBatch[],
  now: () => number = () => performance.now(),
): Promise<SettingTimes> {
  const times = { exact: Infinity, fast: Infinity };
  for (const numeric of ["exact", "fast"] as const) {
    for (let pass = 0; pass < PASSES; pass++) {
      const start = now();
      await gradientOf(step, both[numeric], ...batches);
      times[numeric] = Math.min(times[numeric], now() - start);
    }
  }
  return times;
}

/** The setting in which a run that asked for `fast` goes on. */
export function quickerSetting({ exact, fast }: SettingTimes): Numeric {
  return exact >= LEAST_MILLISECONDS && exact < MARGIN * fast ? "exact" : "fast";
}
