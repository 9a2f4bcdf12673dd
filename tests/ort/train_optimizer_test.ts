import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { graphOptimizer } from "../../src/train/graph_optimizer.ts";
import type { Trainable } from "../../src/lora/trainable.ts";
import { loraplusStep } from "../../src/train/parameter_step.ts";
import type { Parameter } from "../../src/train/step.ts";
import {
  OPTIMIZER_DEFAULTS,
  type OptimizerName,
  type OptimizerSettings,
} from "../../src/train/update_rules.ts";

const settings = (name: OptimizerName): OptimizerSettings => ({
  ...OPTIMIZER_DEFAULTS,
  name,
  weightDecay: 0.1,
});

const START = [0.5, -1, 2, 0.1, -0.2, 0.3];
const GRAD = [0.1, -0.2, 0.3, -0.4, 0.5, 1e-9];

function parameterOf(runner: Runner, name = "w"): Parameter {
  return { name, dims: [2, 3], value: runner.upload(float32([2, 3], START)), grad: undefined };
}

function setGrad(runner: Runner, parameter: Parameter, values: number[]): void {
  parameter.grad?.[Symbol.dispose]();
  parameter.grad = runner.upload(float32(parameter.dims, values));
}

const valuesOf = (parameter: Parameter) => [...toNumbers(parameter.value.read())];

// torch 2.13: `torch.optim.{AdamW,Adam,SGD}([p], lr=0.01, weight_decay=0.1)` from START, five steps
// with the gradient GRAD · (t+1) · (1 if t is even else -0.5) for t = 0 … 4.
const TORCH: Record<Exclude<OptimizerName, "lorafa">, number[]> = {
  adamw: [0.476752192, -0.974257231, 1.96926737, 0.120253816, -0.21975483, 0.295537591],
  adam: [0.469726861, -0.969647169, 1.96712291, 0.120223567, -0.219905242, 0.25017795],
  sgd: [0.491510004, -0.983020008, 1.97203505, 0.123481028, -0.228977039, 0.298503041],
};

for (const name of ["adamw", "adam", "sgd"] as const) {
  Deno.test(`graphOptimizer() ends after five steps of ${name} where PyTorch ends`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const parameter = parameterOf(runner);
    using optimizer = await graphOptimizer(runner, [parameter], settings(name));
    for (let t = 0; t < 5; t++) {
      // A sum over 8 targets: the scale brings back the mean.
      const factor = (t + 1) * (t % 2 === 0 ? 1 : -0.5) * 8;
      setGrad(runner, parameter, GRAD.map((g) => g * factor));
      await optimizer.update(0.01, 1 / 8);
    }
    valuesOf(parameter).forEach((value, i) =>
      assertAlmostEquals(value, TORCH[name][i], 1e-6 * Math.abs(TORCH[name][i]), `element ${i}`)
    );
  });
}

Deno.test("gradientNorm() is the L2 norm over all parameters", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const parameters = [parameterOf(runner, "a"), parameterOf(runner, "b")];
  using optimizer = await graphOptimizer(runner, parameters, settings("adamw"));
  setGrad(runner, parameters[0], [3, 0, 0, 0, 0, 0]);
  setGrad(runner, parameters[1], [0, 0, 0, 0, 4, 0]);
  assertAlmostEquals(await optimizer.gradientNorm(), 5, 1e-6);
  setGrad(runner, parameters[1], [0, 0, NaN, 0, 4, 0]);
  assert(Number.isNaN(await optimizer.gradientNorm()));
});

Deno.test("revert() gives back the values from before the last update, once", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const parameter = parameterOf(runner);
  using optimizer = await graphOptimizer(runner, [parameter], settings("adamw"));
  assertEquals(optimizer.revert(), false);
  setGrad(runner, parameter, GRAD);
  await optimizer.update(0.01, 1);
  const first = valuesOf(parameter);
  await optimizer.update(0.01, 1);
  assertEquals(optimizer.revert(), true);
  assertEquals(valuesOf(parameter), first);
  assertEquals(optimizer.revert(), false);
});

Deno.test("restore() goes on bit for bit from state()", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const straight = parameterOf(runner);
  using one = await graphOptimizer(runner, [straight], settings("adamw"));
  const resumed = parameterOf(runner);
  using two = await graphOptimizer(runner, [resumed], settings("adamw"));
  setGrad(runner, straight, GRAD);
  setGrad(runner, resumed, GRAD);
  for (let t = 0; t < 3; t++) await one.update(0.01, 1);
  two.restore(one.state());
  resumed.value.write(straight.value.read());
  await one.update(0.02, 1);
  await two.update(0.02, 1);
  assertEquals(valuesOf(resumed), valuesOf(straight));
  assertEquals(two.state().updates, 4);
});

Deno.test("restore() lets revert() go back to before the last update of the state", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const first = parameterOf(runner);
  using one = await graphOptimizer(runner, [first], settings("adamw"));
  assertEquals(one.state().previous, undefined);
  setGrad(runner, first, GRAD);
  await one.update(0.01, 1);
  const resumed = parameterOf(runner);
  using two = await graphOptimizer(runner, [resumed], settings("adamw"));
  two.restore(one.state());
  resumed.value.write(first.value.read());
  assertEquals(two.revert(), true);
  assertEquals(valuesOf(resumed), [...Float32Array.from(START)]);
});

Deno.test("restore() refuses a state of other parameters by name", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using one = await graphOptimizer(runner, [parameterOf(runner, "a")], settings("adamw"));
  using two = await graphOptimizer(runner, [parameterOf(runner, "b")], settings("adamw"));
  assertThrows(() => two.restore(one.state()), RangeError, 'moment "b.m" must be [2,3]');
});

Deno.test("graphOptimizer() multiplies gradients by their projections, beside others that have none", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const projection = [1, 2, 3, 4, 5, 6, 7, 8, 10];
  const [plain, projected] = ["plain", "projected"].map((name) => parameterOf(runner, name));
  const rule = { ...settings("sgd"), weightDecay: 0 };
  using optimizer = await graphOptimizer(runner, [plain, projected], rule, {
    projections: new Map([["projected", float32([3, 3], projection)]]),
  });
  for (const parameter of [plain, projected]) setGrad(runner, parameter, GRAD);
  // The norm is that of the gradient itself, as torch's clipping sees it.
  assertAlmostEquals(await optimizer.gradientNorm(), Math.SQRT2 * Math.hypot(...GRAD), 1e-6);
  await optimizer.update(0.1, 0.5);
  for (let i = 0; i < 6; i++) {
    const [row, column] = [Math.floor(i / 3), i % 3];
    const product = [0, 1, 2].reduce(
      (s, k) => s + GRAD[3 * row + k] * projection[3 * k + column],
      0,
    );
    assertAlmostEquals(valuesOf(projected)[i], START[i] - 0.05 * product, 1e-6);
    assertAlmostEquals(valuesOf(plain)[i], START[i] - 0.05 * GRAD[i], 1e-6);
  }
});

Deno.test("graphOptimizer() takes the steps of loraplusStep(), and resumes them", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const kinds: Readonly<Record<string, Trainable["which"]>> = {
    ...{ "fc.A": "A", "fc.B": "B", "head.weight": "weight", "head.bias": "bias" },
    "fc.down": "adapter_down.bias",
  };
  const stepIn = loraplusStep(4);
  const stepOf = (name: string) => {
    const which = kinds[name];
    return stepIn({ path: "", which, dims: which.endsWith("bias") ? [6] : [2, 3] });
  };
  const run = async (parameters: Parameter[], name: OptimizerName) => {
    const optimizer = await graphOptimizer(runner, parameters, settings(name), { stepOf });
    for (const parameter of parameters) setGrad(runner, parameter, GRAD);
    return optimizer;
  };
  const all = () => Object.keys(kinds).map((name) => parameterOf(runner, name));
  for (const name of ["adamw", "adam"] as const) {
    const together = all();
    using optimizer = await run(together, name);
    await optimizer.update(0.01, 1);
    const state = optimizer.state();
    const resumed = all();
    using after = await run(resumed, name);
    after.restore(state);
    resumed.forEach((parameter, i) => parameter.value.write(together[i].value.read()));
    for (const each of [optimizer, after]) await each.update(0.01, 1);
    for (const [i, parameter] of together.entries()) {
      assertEquals(valuesOf(resumed[i]), valuesOf(parameter));
      // As an optimiser of its own would, at the rate and decay of its group.
      const alone = parameterOf(runner);
      const { rateFactor, decays } = stepOf(parameter.name);
      const weightDecay = decays ? 0.1 : 0;
      using single = await graphOptimizer(runner, [alone], { ...settings(name), weightDecay });
      setGrad(runner, alone, GRAD);
      for (let t = 0; t < 2; t++) await single.update(0.01 * rateFactor, 1);
      assertEquals(valuesOf(parameter), valuesOf(alone), parameter.name);
    }
    assertEquals(together.map(({ name }) => stepOf(name)), [
      { rateFactor: 1, decays: true },
      { rateFactor: 4, decays: true },
      { rateFactor: 1, decays: true },
      { rateFactor: 4, decays: false },
      { rateFactor: 4, decays: false },
    ]);
  }
});

for (const shards of [1, 2, 5]) {
  Deno.test(`graphOptimizer() treats every one of many parameters as it treats one, ${shards} shards`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    // The large one does not fit into one call with the others.
    const large = [513, 512];
    const zeros = float32(large, new Float32Array(513 * 512));
    const many: Parameter[] = [
      parameterOf(runner, "a"),
      { name: "large", dims: large, value: runner.upload(zeros), grad: runner.upload(zeros) },
      parameterOf(runner, "b"),
      parameterOf(runner, "c"),
    ];
    const alone = parameterOf(runner);
    using one = await graphOptimizer(runner, [alone], settings("adamw"));
    using all = await graphOptimizer(runner, many, settings("adamw"), { shards });
    const small = many.filter(({ name }) => name !== "large");
    for (const parameter of [alone, ...small]) setGrad(runner, parameter, GRAD);
    const norm = await one.gradientNorm();
    assertAlmostEquals(await all.gradientNorm(), Math.sqrt(3) * norm, 1e-6);
    for (let t = 0; t < 3; t++) {
      await one.update(0.01, 1);
      await all.update(0.01, 1);
    }
    for (const parameter of small) assertEquals(valuesOf(parameter), valuesOf(alone));
    const { moments } = all.state();
    for (const slot of ["m", "v"]) {
      const expected = one.state().moments.get(`w.${slot}`);
      for (const { name } of small) assertEquals(moments.get(`${name}.${slot}`), expected);
      assertEquals(moments.get(`large.${slot}`)!.dims, large);
    }
    all.restore(all.state());
    await one.update(0.01, 1);
    await all.update(0.01, 1);
    for (const parameter of small) assertEquals(valuesOf(parameter), valuesOf(alone));
  });
}

Deno.test("update() lets only scalars cross between the host and the runtime", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const parameter = parameterOf(runner);
  using optimizer = await graphOptimizer(runner, [parameter], settings("adamw"));
  setGrad(runner, parameter, GRAD);
  const before = { ...runner.traffic };
  await optimizer.gradientNorm();
  await optimizer.update(0.01, 1);
  assertEquals(runner.traffic.readBytes - before.readBytes, 4); // the squared norm
  assertEquals(runner.traffic.uploadedBytes - before.uploadedBytes, 4 * 4); // AdamW's scalars
});

Deno.test("graphOptimizer() refuses to train nothing", async () => {
  using runner = createOrtRunner({ threads: 1 });
  await assertRejects(() => graphOptimizer(runner, [], settings("adamw")), RangeError);
});
