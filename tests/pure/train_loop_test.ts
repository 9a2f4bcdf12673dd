import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { elementCount, float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Checkpoint } from "../../src/train/checkpoint.ts";
import type { StepReport, TrainCallbacks } from "../../src/train/events.ts";
import { validate } from "../../src/train/validate.ts";
import {
  readParameters,
  SKIPS_BEFORE_END,
  stepsOf,
  train,
  type TrainJob,
  type TrainSettings,
  writeParameters,
} from "../../src/train/loop.ts";
import type { Gate } from "../../src/train/pause.ts";
import type { BatchSource, StepOptions } from "../../src/train/step.ts";
import { HostAdamW, LeastSquares, planeData, type Rows } from "../helpers/host_training.ts";

const SETTINGS: TrainSettings = {
  totalSteps: 30,
  accumulation: 1,
  schedule: { name: "linear", learningRate: 0.3, warmupSteps: 2, totalSteps: 30 },
  maxGradNorm: 1,
  stepsPerReport: 10,
  stepsPerEval: 10,
  valBatches: -1,
  saveEvery: 10,
  patience: 0,
  loadBest: true,
  seed: 5,
};

function makeJob(
  settings: Partial<TrainSettings> = {},
  more: Partial<TrainJob<Rows>> = {},
): TrainJob<Rows> & { model: LeastSquares; saved: Checkpoint[] } {
  const model = more.model as LeastSquares ?? new LeastSquares(true);
  const saved: Checkpoint[] = [];
  return {
    optimizer: new HostAdamW(model.parameters),
    data: planeData(40, 4),
    validation: planeData(12, 4, 2),
    settings: { ...SETTINGS, ...settings },
    checkpoints: {
      save(checkpoint) {
        saved.push(checkpoint);
        return `step ${checkpoint.state.step}`;
      },
    },
    ...more,
    model,
    saved,
  };
}

const plain = (tensors: ReadonlyMap<string, Tensor>) =>
  Object.fromEntries([...tensors].map(([name, tensor]) => [name, [...toNumbers(tensor)]]));

const snapshot = ({ state, parameters, optimizer, best }: Checkpoint) => ({
  state,
  parameters: plain(parameters),
  moments: plain(optimizer.moments),
  updates: optimizer.updates,
  previous: optimizer.previous && plain(optimizer.previous),
  best: best && plain(best),
});

Deno.test("train() lowers the loss and reports it at the stated steps", async () => {
  const reports: StepReport[] = [];
  const evaluated: number[] = [];
  const job = makeJob({ totalSteps: 25 }, {
    callbacks: { onReport: (r) => reports.push(r), onEvaluate: (e) => evaluated.push(e.loss) },
  });
  const outcome = await train(job);
  assertEquals(outcome.end, "finished");
  assertEquals(reports.map((report) => report.step), [10, 20, 25]);
  assertEquals(reports.map((report) => report.epoch), [1, 2, 2.5]);
  assert(evaluated.at(-1)! < evaluated[0] / 2, `${evaluated}`);
  for (const report of reports) assert(report.tokensPerSecond > 0 && report.gradNorm > 0);
});

Deno.test("train() takes the same steps from micro-batches as from one large batch", async () => {
  // 10 rows as 3 + 3 + 3 + 1: unequal micro-batches, weighted by their targets.
  const large = makeJob({ totalSteps: 5, loadBest: false }, {
    model: new LeastSquares(),
    data: planeData(10, 10),
  });
  const small = makeJob({ totalSteps: 5, accumulation: 4, loadBest: false }, {
    model: new LeastSquares(),
    data: planeData(10, 3),
  });
  await train(large);
  await train(small);
  const [expected, found] = [large, small].map((job) => plain(readParameters(job.model)));
  for (const name of Object.keys(expected)) {
    expected[name].forEach((value, i) =>
      assertAlmostEquals(found[name][i], value, 1e-5 * Math.abs(value))
    );
  }
});

Deno.test("train() resumed from any checkpoint ends exactly where the straight run ends", async () => {
  const straight = makeJob({ saveEvery: 3, accumulation: 2, totalSteps: 40 });
  await train(straight);
  const last = snapshot(straight.saved.at(-1)!);
  assertEquals(last.state.step, 40);
  for (const checkpoint of straight.saved.slice(0, -1)) {
    const resumed = makeJob({ saveEvery: 3, accumulation: 2, totalSteps: 40 }, {
      resume: checkpoint,
    });
    await train(resumed);
    assertEquals(snapshot(resumed.saved.at(-1)!), last);
  }
});

Deno.test("train() interrupted at any moment and resumed ends where the straight run ends", async () => {
  const straight = makeJob({ accumulation: 2 });
  await train(straight);
  const last = snapshot(straight.saved.at(-1)!);
  // A source that fires the signal at its n-th batch: in steps, between them, in evaluations.
  for (let n = 1; n < 90; n += 4) {
    const controller = new AbortController();
    let served = 0;
    const counting = (source: BatchSource<Rows>): BatchSource<Rows> => ({
      batches: (epoch) => source.batches(epoch),
      batch(epoch, index) {
        if (++served === n) controller.abort();
        return source.batch(epoch, index);
      },
    });
    const first = makeJob({ accumulation: 2 }, {
      data: counting(planeData(40, 4)),
      validation: counting(planeData(12, 4, 2)),
      signal: controller.signal,
    });
    const outcome = await train(first);
    if (outcome.end === "finished") break;
    assertEquals(outcome.end, "interrupted");
    const second = makeJob({ accumulation: 2 }, { resume: first.saved.at(-1) });
    await train(second);
    assertEquals(snapshot(second.saved.at(-1) ?? first.saved.at(-1)!), last, `batch ${n}`);
  }
});

Deno.test("train() saves every save_every steps and at the end, never twice", async () => {
  const job = makeJob({ totalSteps: 25, saveEvery: 10 });
  await train(job);
  assertEquals(job.saved.map((checkpoint) => checkpoint.state.step), [10, 20, 25]);
});

Deno.test("train() stops when the validation loss has not fallen for `patience` evaluations", async () => {
  // A learning rate that throws the parameters far away after the first evaluations.
  const evaluations: { step: number; loss: number }[] = [];
  const job = makeJob({
    totalSteps: 1000,
    stepsPerEval: 5,
    patience: 3,
    maxGradNorm: 0,
    schedule: { name: "constant", learningRate: 3, warmupSteps: 0, totalSteps: 1000 },
  }, { callbacks: { onEvaluate: (e) => evaluations.push(e) } });
  const outcome = await train(job);
  assertEquals(outcome.end, "stopped early");
  assert(outcome.step < 1000);
  const best = evaluations.slice(1).reduce((a, b) => b.loss < a.loss ? b : a);
  assertEquals(outcome.best, { step: best.step, loss: best.loss });
  assertEquals(outcome.parametersOfStep, best.step);
  assertEquals(evaluations.at(-1)!.step - best.step, 15);
  // The model holds the best parameters again: its loss is the best one.
  let sum = 0;
  const validation = planeData(12, 4, 2);
  for (let i = 0; i < 3; i++) {
    sum += (await job.model.evaluate(await validation.batch(0, i))).lossSum;
  }
  assertAlmostEquals(sum / 12, best.loss, 1e-12);
});

Deno.test("train() tells the model of the batch that comes next, whatever step it is in, but after the last", async () => {
  const model = new LeastSquares();
  const accumulate = model.accumulate.bind(model);
  const upcoming: (Rows | undefined)[] = [];
  const taken: Rows[] = [];
  model.accumulate = async (batch, seed, options?: StepOptions<Rows>) => {
    taken.push(batch);
    upcoming.push(await options?.upcoming?.());
    return accumulate(batch, seed);
  };
  for (const accumulation of [1, 2]) {
    await train(makeJob({ accumulation, totalSteps: 9 }, { model }));
    assertEquals(upcoming.splice(0), [...taken.splice(0).slice(1), undefined]);
  }
});

Deno.test("train() keeps the last parameters where loadBest is off", async () => {
  const job = makeJob({ loadBest: false });
  const outcome = await train(job);
  assertEquals(outcome.parametersOfStep, 30);
  assertEquals(job.saved.at(-1)!.best, undefined);
});

/** Least squares whose loss is NaN at the given calls of `accumulate`. */
function poisoned(bad: (call: number) => boolean): LeastSquares {
  const model = new LeastSquares();
  const accumulate = model.accumulate.bind(model);
  let call = 0;
  model.accumulate = async (batch, seed) => {
    const loss = await accumulate(batch, seed);
    return bad(call++) ? { ...loss, lossSum: NaN } : loss;
  };
  return model;
}

Deno.test("train() skips a step whose loss is NaN and tells so", async () => {
  const skipped: string[] = [];
  const callbacks: TrainCallbacks = { onSkip: (s) => skipped.push(`${s.step}: ${s.reason}`) };
  const job = makeJob({}, { model: poisoned((call) => call === 7 || call === 8), callbacks });
  const outcome = await train(job);
  assertEquals(outcome.end, "finished");
  assertEquals(skipped, ["8: its loss is NaN", "9: its loss is NaN"]);
  assertEquals(job.saved.at(-1)!.optimizer.updates, 28);
});

Deno.test("train() takes a step again with full precision before it skips it, and remembers", async () => {
  const skipped: number[] = [];
  const straight = makeJob({}, { model: new LeastSquares() });
  await train(straight);
  const model: LeastSquares & { widen?(): boolean } = poisoned((call) => call === 7);
  let widened = 0;
  model.widen = () => ++widened === 1;
  const job = makeJob({}, { model, callbacks: { onSkip: ({ step }) => skipped.push(step) } });
  const outcome = await train(job);
  assertEquals(outcome.end, "finished");
  assertEquals({ skipped, widened }, { skipped: [], widened: 1 });
  assertEquals(job.saved.at(-1)!.state.widened, true);
  assertEquals(plain(readParameters(model)), plain(readParameters(straight.model)));
});

Deno.test("train() ends a diverged run with the last parameters whose loss was finite", async () => {
  const job = makeJob({ maxGradNorm: 0 }, { model: poisoned((call) => call >= 12) });
  const outcome = await train(job);
  assertEquals(outcome.end, "diverged");
  assertEquals(outcome.reason, "its loss is NaN");
  assertEquals(outcome.step, 12 + SKIPS_BEFORE_END);
  assertEquals(outcome.parametersOfStep, 11);
  // Those are the parameters a straight run has after 11 steps.
  const straight = makeJob({ totalSteps: 11, maxGradNorm: 0, loadBest: false }, {
    model: new LeastSquares(),
  });
  await train(straight);
  assertEquals(plain(readParameters(job.model)), plain(readParameters(straight.model)));
});

Deno.test("train() that diverges at once after a resume ends as it would have without the stop", async () => {
  const settings = { maxGradNorm: 0, saveEvery: 12 };
  const straight = makeJob(settings, { model: poisoned((call) => call >= 12) });
  const expected = await train(straight);
  const [checkpoint] = straight.saved;
  assertEquals(checkpoint.state.step, 12);
  const resumed = makeJob(settings, { model: poisoned(() => true), resume: checkpoint });
  assertEquals(await train(resumed), expected);
  assertEquals(expected.parametersOfStep, 11);
  assertEquals(plain(readParameters(resumed.model)), plain(readParameters(straight.model)));
});

Deno.test("train() whose last steps were skipped ends diverged, however few they are", async () => {
  const job = makeJob({ totalSteps: 12, saveEvery: 4 }, { model: poisoned((call) => call >= 11) });
  const outcome = await train(job);
  assertEquals([outcome.end, outcome.step, outcome.parametersOfStep], ["diverged", 12, 10]);
  assertEquals(outcome.reason, "its loss is NaN");
});

Deno.test("train() makes no checkpoint of parameters whose numbers went bad, and makes it later", async () => {
  const job = makeJob({ saveEvery: 4 }, { model: poisoned((call) => call === 7 || call === 8) });
  assertEquals((await train(job)).end, "finished");
  assertEquals(job.saved.map(({ state }) => state.step), [4, 10, 12, 16, 20, 24, 28, 30]);
});

Deno.test("train() skips a step whose gradient overflows", async () => {
  const model = new LeastSquares();
  const accumulate = model.accumulate.bind(model);
  let call = 0;
  model.accumulate = async (batch, seed) => {
    const loss = await accumulate(batch, seed);
    if (++call === 4) model.parameters[1].grad!.write(float32([], [Infinity]));
    return loss;
  };
  const skipped: string[] = [];
  await train(makeJob({}, { model, callbacks: { onSkip: (s) => skipped.push(s.reason) } }));
  assertEquals(skipped, ["the norm of its gradient is Infinity"]);
});

Deno.test("train() saves no parameters that its last update made infinite", async () => {
  const job = makeJob({ totalSteps: 5, saveEvery: 2 }, { model: new LeastSquares() });
  const update = job.optimizer.update.bind(job.optimizer);
  let updates = 0;
  job.optimizer.update = (rate, scale) => update(++updates === 5 ? 1e39 : rate, scale);
  const outcome = await train(job);
  assertEquals([outcome.end, outcome.step, outcome.parametersOfStep], ["diverged", 5, 4]);
  assertMatch(outcome.reason!, /parameter ".+" is no longer finite/);
  assertEquals(job.saved.map(({ state }) => state.step), [2, 4]);
  const left = [...readParameters(job.model).values()].flatMap((value) => [...toNumbers(value)]);
  assert(left.every(Number.isFinite), `${left}`);
});

Deno.test("train() takes no step along a gradient of zero where there is a loss", async () => {
  const model = new LeastSquares();
  const accumulate = model.accumulate.bind(model);
  model.accumulate = async (batch, seed) => {
    const loss = await accumulate(batch, seed);
    for (const { grad, dims } of model.parameters) {
      grad!.write(float32(dims, new Float32Array(elementCount(dims))));
    }
    return loss;
  };
  const outcome = await train(makeJob({}, { model }));
  assertEquals(outcome.end, "diverged");
  assertStringIncludes(outcome.reason!, "its gradient is zero although its loss is not");
});

Deno.test("train() clips the gradient's norm as PyTorch does", async () => {
  const job = makeJob({ totalSteps: 1, maxGradNorm: 0.5, loadBest: false }, {
    model: new LeastSquares(),
  });
  let scale = 0;
  job.optimizer.update = (_rate, gradientScale) => {
    scale = gradientScale;
    return Promise.resolve();
  };
  let norm = 0;
  await train({ ...job, callbacks: { onReport: (report) => norm = report.gradNorm } });
  assert(norm > 0.5);
  assertAlmostEquals(scale, 0.5 / (norm + 1e-6) / 4, 1e-12); // 4 targets
});

Deno.test("train() refuses data without a batch", async () => {
  await assertRejects(() => train(makeJob({}, { data: planeData(0, 4) })), RangeError, "no batch");
});

Deno.test("validate() with a limit spreads its batches over the whole source", async () => {
  const source = planeData(40, 4);
  const asked: number[] = [];
  const spy: BatchSource<Rows> = {
    batches: () => 10,
    batch(epoch, index) {
      asked.push(index);
      return source.batch(epoch, index);
    },
  };
  await validate(new LeastSquares(), spy, 4);
  assertEquals(asked, [0, 2, 5, 7]);
  asked.length = 0;
  await validate(new LeastSquares(), spy);
  assertEquals(asked, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

Deno.test("stepsOf() counts the rest of an epoch as a step", () => {
  assertEquals(stepsOf(planeData(40, 4), 3, 4), 9);
  assertEquals(stepsOf(planeData(40, 4), 3, 1), 30);
});

Deno.test("writeParameters() refuses missing, misshapen and superfluous tensors by name", () => {
  const model = new LeastSquares();
  const values = readParameters(model);
  const bias = values.get("bias")!;
  values.delete("bias");
  assertThrows(
    () => writeParameters(model, values),
    RangeError,
    '"bias": it must be []: current value is missing',
  );
  values.set("bias", values.get("weight")!);
  assertThrows(() => writeParameters(model, values), RangeError, "current value is [4]");
  values.set("bias", bias).set("other", bias);
  assertThrows(() => writeParameters(model, values), RangeError, 'the model has no "other"');
});

Deno.test("train() waits while its gate is closed, with what it learnt saved, and ends as without", async () => {
  const plainRun = makeJob();
  await train(plainRun);
  const told: string[] = [];
  let asked = 0;
  // Closed before step 13, for two questions.
  const gate: Gate = {
    closedBy: (waiting) => (++asked === 13 || waiting && asked === 14) ? "it is hot" : undefined,
  };
  const paused = makeJob({}, {
    gate,
    callbacks: {
      onPause: ({ step, reason }) => told.push(`${step}: ${reason}`),
      onGoOn: ({ step }) => told.push(`${step}: on`),
    },
  });
  await train(paused);
  assertEquals(told, ["12: it is hot", "12: on"]);
  assertEquals(paused.saved.map(({ state }) => state.step), [10, 12, 20, 30]);
  assertEquals(snapshot(paused.saved.at(-1)!), snapshot(plainRun.saved.at(-1)!));
});

Deno.test("train() is interrupted while its gate is closed", async () => {
  const controller = new AbortController();
  const job = makeJob({}, {
    gate: { closedBy: () => "it is hot" },
    signal: controller.signal,
    callbacks: { onPause: () => controller.abort() },
  });
  assertEquals((await train(job)).end, "interrupted");
});
