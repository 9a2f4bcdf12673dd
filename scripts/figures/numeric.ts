/**
 * Prints how the numeric setting `fast` compares with `exact`: the gradients' cosine and relative
 * error on the first sequences of some batches and on each whole batch, and seconds of a pass over the
 * batches, both settings in turn; and what float16 costs `exact`: the relative error of the gradient,
 * whole and of its worst tensor. CPU seconds tell more than the clock's on a machine that does other
 * work.
 *
 * usage: deno run -A scripts/figures/numeric.ts [SHARED] [ROUNDS] (default: ../shared and 5)
 */
import { processTerminal } from "../../src/cli/terminal/output.ts";
import { trainingNotes } from "../../src/cli/train/training_notes.ts";
import { resolveConfig } from "../../src/finetune/mod.ts";
import { prepareTraining } from "../../src/finetune/prepare_training.ts";
import type { Numeric } from "../../src/plan/names.ts";
import { changed } from "../../src/plan/arithmetic.ts";
import { openRunner } from "../../src/runtime/open_runner.ts";
import {
  type BothSettings,
  checkFast,
  compareGradients,
  gradientOf,
  gradientsInBoth,
} from "../../src/train/check_fast.ts";
import { chooseArithmetic } from "../../src/train/choose_arithmetic.ts";
import type { MicroBatches } from "../../src/train/micro_batches.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { median } from "../../src/statistics.ts";
import { trainedCases } from "./trained_cases.ts";

const [shared = "../shared", rounds = "5"] = Deno.args;
const BATCHES = 4;

/** Seconds that this process has computed. */
function cpuSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100; // in ticks of 10 ms
}

for (const what of trainedCases(shared)) {
  const config = resolveConfig(what);
  using runner = openRunner(config);
  const onEvent = trainingNotes(config, processTerminal());
  using setup = await prepareTraining(config, { own: { runner }, onEvent });
  const { model } = setup.model as MicroBatches;
  if (!(model instanceof PlannedModel)) throw new Error("Trains another way than by a plan");
  const batches = await Promise.all(
    Array.from({ length: BATCHES }, (_, i) => setup.data.batch(0, i)),
  );
  const both: BothSettings = {
    exact: model.arithmetic,
    fast: await chooseArithmetic(runner, { ...setup.memory?.forms, numeric: "fast" }),
  };
  const checks = [];
  for (const batch of batches) {
    const { cosine, relativeError } = await checkFast(model, both, [batch]);
    const { exact, fast } = await gradientsInBoth(model, both, [batch]);
    const whole = compareGradients(exact, fast);
    checks.push({ dims: batch.inputIds.dims, cosine, relativeError, whole });
  }
  const taken = { exact: { clock: [], cpu: [] }, fast: { clock: [], cpu: [] } } as Record<
    Numeric,
    { clock: number[]; cpu: number[] }
  >;
  for (let round = 0; round < Number(rounds); round++) {
    for (const numeric of ["exact", "fast"] as const) {
      const pass = () => gradientOf(model, both[numeric], ...batches);
      await pass(); // compiles, and rounds the weights anew
      const [clock, cpu] = [performance.now(), cpuSeconds()];
      await pass();
      taken[numeric].clock.push((performance.now() - clock) / 1000);
      taken[numeric].cpu.push(cpuSeconds() - cpu);
    }
  }
  const halved = await gradientOf(model, both.exact, batches[0]);
  const whole = await gradientOf(model, changed(both.exact, { kept: "whole" }), batches[0]);
  const errors = whole.map((values, p) => compareGradients([values], [halved[p]]).relativeError);
  const ratio = (of: "clock" | "cpu") => median(taken.exact[of]) / median(taken.fast[of]);
  console.log(JSON.stringify({
    ...what,
    checks,
    fasterByClock: ratio("clock"),
    fasterByCpu: ratio("cpu"),
    float16: {
      relativeError: compareGradients(whole, halved).relativeError,
      // With B at zero, A has no gradient yet.
      worst: Math.max(...errors.filter((error) => !Number.isNaN(error))),
    },
    taken,
  }));
}
