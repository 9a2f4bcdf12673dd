import { assert, assertEquals } from "@std/assert";
import { float32, tensor } from "../../src/graph/tensor.ts";
import {
  emitQuantizedLinear,
  type QuantizedLinearSpec,
} from "../../src/ops/internal/quantized_linear.ts";
import { type IntegerForm, weightType } from "../../src/ops/internal/integer_form.ts";
import { rotationBlock, rotationNode } from "../../src/ops/internal/rotation.ts";
import { pullback } from "../../src/autodiff/pullback.ts";
import { geluAndSlopeNode } from "../../src/ops/internal/gelu_and_slope.ts";
import { ZERO_POINTS } from "../../src/graph/codes.ts";
import { type Arithmetic, arithmeticOf, changed, floatsBeside } from "../../src/plan/arithmetic.ts";
import type { Numeric } from "../../src/plan/names.ts";
import { roundedRows } from "../../src/plan/quantize_linears.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { besideFloats, checkFast, FAST_THRESHOLD, gradientOf } from "../../src/train/check_fast.ts";
import { compareForward, FORWARD_TOLERANCE } from "../../src/train/compare_forward.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { runEmitted } from "../helpers/emitted.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import { testOnEachOrt } from "../helpers/oldest_ort.ts";
import { quantized } from "../helpers/quantized_model.ts";
import { withOutlier } from "../helpers/outlier_model.ts";
import {
  adapted,
  batchOf,
  gradientDistance,
  gradientsOf,
  norm,
  rowsOf,
  STEP_MODELS,
  type StepHow,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

const [M, K, N] = [40, 96, 64];
/** What training takes here, or as good. */
const [FORM] = RIGHT_FORMS;

/** Standard normal numbers, the same for the same seed. */
function gaussian(count: number, seed: number): Float32Array {
  const random = Random.fromSeed(seed);
  const uniform = () => (random.next() + 1) / (2 ** 32 + 1);
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** x·Φ(x), Φ by Simpson's rule over the density. */
function geluOf(x: number): number {
  const [steps, density] = [400, (t: number) => Math.exp(-t * t / 2) / Math.sqrt(2 * Math.PI)];
  let sum = density(0) + density(x);
  for (let i = 1; i < steps; i++) sum += (i % 2 === 1 ? 4 : 2) * density(x * i / steps);
  return x * (0.5 + sum * x / steps / 3);
}

/** x [M, k] · w, w [k, n] or [n, k] with `transB`. */
function product(x: Float32Array, w: ArrayLike<number>, k: number, n: number, transB: boolean) {
  const y = new Float64Array(x.length / k * n);
  for (let i = 0; i < y.length; i++) {
    const [row, column] = [Math.floor(i / n), i % n];
    for (let j = 0; j < k; j++) {
      y[i] += x[row * k + j] * w[transB ? column * k + j : j * n + column];
    }
  }
  return y;
}

const distance = (found: ArrayLike<number>, expected: Float64Array) =>
  norm(expected.map((value, i) => value - found[i])) / norm(expected);

/** Error of x · Wᵀ with W rounded by graft. */
async function roundedError(
  runner: Runner,
  x: Float32Array,
  form: IntegerForm = FORM,
): Promise<number> {
  const w = gaussian(N * K, 2);
  const [y] = await runEmitted(
    runner,
    { x: float32([M, K], x), w: float32([N, K], w) },
    (b) => {
      const { codes, scale } = roundedRows(b, "w", form);
      const [rotated] = b.emit({ ...rotationNode("x", rotationBlock(K)), outputCount: 1 });
      return [emitQuantizedLinear(b, { x: rotated, weight: codes, transB: true, post: scale })];
    },
  );
  return distance(y, product(x, w, K, N, true));
}

testOnEachOrt(
  "QuantizedLinear over weights that graft rounds is within 1.5% of float32, outliers within 2%",
  async (ortLib) => {
    using runner = createOrtRunner({ threads: 1, ortLib });
    const x = gaussian(M * K, 1);
    const plain = await roundedError(runner, x);
    assert(plain > 1e-4 && plain < 0.015, `error is ${plain}`);
    // One entry of each row thirty times the others: without rotation they would lose five bits.
    const peaked = x.map((value, i) => i % K === 5 ? 30 * Math.sign(value) : value);
    const withPeak = await roundedError(runner, peaked);
    assert(withPeak < 0.02, `error with an outlier is ${withPeak}`);
    const paired = await roundedError(runner, x, "u8s8_paired");
    assert(paired > plain && paired < 0.02, `error with paired weights is ${paired}`);
  },
);

Deno.test("QuantizedLinear multiplies by 8-bit channels as they are, in both directions", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const random = Random.fromSeed(3);
  const integer = () => random.next() % 255 - 127;
  const w = Int8Array.from({ length: K * N }, integer);
  const s = Float32Array.from({ length: N }, (_, i) => 0.01 * (1 + i % 5));
  // Rows of whole numbers up to 127 are rounded without error, so that all that is left is the weight's.
  const whole = (width: number) =>
    Float32Array.from({ length: M * width }, (_, i) => i % width === 0 ? 127 : integer());
  const dtype = weightType(FORM);
  const weight = tensor(dtype, [K, N], Uint8Array.from(w, (value) => value + ZERO_POINTS[dtype]));
  const cases: [Partial<QuantizedLinearSpec>, Float32Array, number, number][] = [
    [{ transB: false, post: "s" }, whole(K), K, N],
    [{ transB: true }, whole(N), N, K],
  ];
  for (const [spec, x, inner, outer] of cases) {
    const [y] = await runEmitted(
      runner,
      { x: float32([M, inner], x), w: weight, s: float32([N], s) },
      (b) => [emitQuantizedLinear(b, { x: "x", weight: "w", transB: false, ...spec })],
    );
    const scaled = spec.post === undefined
      ? w
      : Float64Array.from(w, (value, i) => value * s[i % N]);
    assert(distance(y, product(x, scaled, inner, outer, spec.transB!)) < 1e-6);
  }
});

Deno.test("QuantizedLinear of two slices is within 1e-4 of float32, outliers within 5e-4, both ways", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const dtype = weightType(FORM);
  const random = Random.fromSeed(3);
  const w = Int8Array.from({ length: K * N }, () => random.next() % 255 - 127);
  const weight = tensor(dtype, [K, N], Uint8Array.from(w, (value) => value + ZERO_POINTS[dtype]));
  const s = Float32Array.from({ length: N }, (_, i) => 0.01 * (1 + i % 5));
  const scaled = Float64Array.from(w, (value, i) => value * s[i % N]);
  const errors = async (x: Float32Array) => {
    const given = { x: float32([M, K], x), w: weight, s: float32([N], s) };
    const [y, dx] = await runEmitted(
      runner,
      { ...given, ct: float32([M, N], gaussian(M * N, 4)) },
      (b) => {
        const spec = { x: "x", weight: "w", transB: false, post: "s", slices: 2 } as const;
        const y = emitQuantizedLinear(b, spec);
        return [y, pullback(b, b.nodes, new Map([[y, "ct"]]), new Set(["x"])).get("x")!];
      },
    );
    return [
      distance(y, product(x, scaled, K, N, false)),
      distance(dx, product(gaussian(M * N, 4), scaled, N, K, true)),
    ];
  };
  const x = gaussian(M * K, 1);
  for (const error of await errors(x)) assert(error > 1e-6 && error < 1e-4, `error is ${error}`);
  const peaked = x.map((value, i) => i % K === 5 ? 30 * Math.sign(value) : value);
  const [withPeak] = await errors(peaked);
  assert(withPeak < 5e-4, `error with outliers is ${withPeak}`);
});

Deno.test("QuantizedLinear computes 0 for rows of zeros, and no numbers for rows that overflowed", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const x = new Float32Array(2 * K);
  x[K + 3] = Infinity;
  const [y] = await runEmitted(
    runner,
    { x: float32([2, K], x), w: tensor("int8", [K, N], new Uint8Array(K * N).fill(9)) },
    (b) => [emitQuantizedLinear(b, { x: "x", weight: "w", transB: false })],
  );
  assertEquals(Array.from(y).slice(0, N), new Array(N).fill(0));
  assert(Array.from(y).slice(N).every((value) => !Number.isFinite(value)));
});

const batchFor = (name: StepModelName) => batchOf(rowsOf([9, 6, 16]), 16, STEP_MODELS[name]);

for (const name of Object.keys(STEP_MODELS) as StepModelName[]) {
  Deno.test(`fast has exact's gradient within the stated cosine, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, name, { headChunk: 100, numeric: "fast", integerForm: FORM });
    const both = besideFloats(step.arithmetic);
    const { cosine, relativeError, passed } = await checkFast(step, both, [batchFor(name)]);
    assert(passed && cosine > 0.995 && cosine < 1, `cosine ${cosine}`);
    assert(relativeError > 1e-3 && relativeError < 0.1, `relative error ${relativeError}`);
  });
}

Deno.test("fast leaves a head of many classes in floats where its weight does not come apart", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = { ...readModel(modelDir("tiny-llama-torch-fp32")), irVersion: 10 };
  const opsets = { ...base.opsets, "": 21 };
  const options = { bits: 4, useQdq: true, minElements: 1024 } as const;
  const made = adapted(quantized({ ...base, opsets }, options));
  const errorWith = async (headChunk: number) => {
    const arithmetic = arithmeticOf({ numeric: "fast", integerForm: FORM });
    using step = new PlannedModel({
      ...{ runner, ...made, objective: "causal", headChunk, arithmetic },
    });
    const batch = batchFor("tiny-llama-torch-fp32");
    return (await checkFast(step, besideFloats(arithmetic), [batch])).relativeError;
  };
  const [wide, narrow] = [await errorWith(100), await errorWith(1e6)];
  assert(wide < 0.8 * narrow, `${wide} with more classes than a chunk has, ${narrow} with fewer`);
});

testOnEachOrt("GeluAndSlope computes GELU, and its slope within half a step", async (ortLib) => {
  using runner = createOrtRunner({ threads: 1, ortLib });
  const values = Float32Array.from({ length: 1301 }, (_, i) => (i - 650) / 100);
  const row = (numbers: Float32Array) => float32([1, values.length], numbers);
  const ct = new Float32Array(values.length).fill(1);
  const [found, slopes] = await runEmitted(runner, { x: row(values), ct: row(ct) }, (b) => {
    const [y] = b.emit({ ...geluAndSlopeNode("x"), outputCount: 2 });
    return [y, pullback(b, b.nodes, new Map([[y, "ct"]]), new Set(["x"])).get("x")!];
  });
  values.forEach((x, i) => {
    const h = 1e-2;
    assert(Math.abs(found[i] - geluOf(x)) < 1e-5, `GELU of ${x} is ${found[i]}`);
    const slope = (geluOf(x + h) - geluOf(x - h)) / (2 * h);
    assert(Math.abs(slopes[i] - slope) < 0.5 / 200 + 1e-4, `slope at ${x} is ${slopes[i]}`);
  });
});

Deno.test("fast computes the same gradient whether activations are kept or computed again", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const name = "tiny-llama-genai-int4";
  const gradients = async (how: StepHow) => {
    using step = stepOn(runner, name, { numeric: "fast", ...how });
    return await gradientsOf(step, [batchFor(name)]);
  };
  const expected = await gradients({ kept: "whole" });
  const keepBytes = Number.MAX_SAFE_INTEGER;
  assertEquals(await gradients({ keepBytes, kept: "whole" }), expected);
  // What stays in 8 bits or in float16, what runs between segments at least, may round to the next of
  // the 8 bits' steps.
  for (const how of [{}, { keepBytes }]) {
    const { error } = gradientDistance(await gradients(how), expected);
    assert(error > 0 && error < 0.05, `error is ${error}`);
  }
});

for (const name of Object.keys(STEP_MODELS) as StepModelName[]) {
  Deno.test(`fast computes the same gradient to the bit with weights both ways round, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const gradients = async (how: StepHow) => {
      using step = stepOn(runner, name, { numeric: "fast", integerForm: FORM, ...how });
      return await gradientsOf(step, [batchFor(name)]);
    };
    const turning = await gradients({});
    for (const readyWeights of [true, "deep"] as const) {
      assertEquals(await gradients({ readyWeights }), turning);
    }
  });
}

Deno.test("quantizeLinears() makes weights with more inputs than outputs both ways round where deep ones are to be", () => {
  using runner = createOrtRunner({ threads: 1 });
  const transposedBy = (readyWeights: boolean | "deep") => {
    using step = stepOn(runner, "tiny-llama-genai-int4", { numeric: "fast", readyWeights });
    const { preprocessing } = step.planOf(batchFor("tiny-llama-genai-int4"), {
      passes: ["training"],
      arithmetic: step.arithmetic,
    });
    return preprocessing.flatMap(({ graph, fetches }) =>
      graph.outputs.filter(({ name }) => fetches.get(name)!.endsWith(".transposed"))
        .map(({ type }) => type!.shape as readonly number[])
    );
  };
  const [deep, all] = [transposedBy("deep"), transposedBy(true)];
  assertEquals(transposedBy(false), []);
  assertEquals(deep, all.filter(([inputs, outputs]) => inputs > outputs));
  assert(deep.length === 2 && all.length > 4, `of two layers ${deep.length} and ${all.length}`);
});

Deno.test("floatsBeside() makes weights ready for the setting that trains, not for the one it is compared with", () => {
  using runner = createOrtRunner({ threads: 1 });
  const name = "tiny-llama-genai-int4";
  const preprocessed = (numeric: Numeric, of: (own: Arithmetic) => Arithmetic) => {
    using step = stepOn(runner, name, { numeric, readyWeights: true });
    const use = { passes: ["training"], arithmetic: of(step.arithmetic) } as const;
    return step.planOf(batchFor(name), use).preprocessing.length > 0;
  };
  assertEquals(preprocessed("exact", (own) => own), true);
  assertEquals(preprocessed("exact", floatsBeside), true);
  assertEquals(preprocessed("fast", (own) => own), true);
  assertEquals(preprocessed("fast", floatsBeside), false);
});

Deno.test("losses without gradients and the compared logits stay exact in fast", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const name = "tiny-llama-torch-fp32";
  const made = adapted(readModel(modelDir(name)));
  const arithmetic = arithmeticOf({ numeric: "fast", integerForm: FORM });
  using inFloats = new PlannedModel({ runner, ...made, objective: "causal" });
  using step = new PlannedModel({
    ...{ runner, ...made, objective: "causal" },
    arithmetic: changed(arithmetic, { dequantForm: inFloats.arithmetic.dequantForm }),
  });
  const batch = batchFor(name);
  const exact = await inFloats.evaluate(batch);
  assertEquals(await step.evaluate(batch), exact);
  const { relativeDifference } = await compareForward(runner, made.model, step, batch);
  assert(relativeDifference < FORWARD_TOLERANCE / 10);
  const { lossSum } = await step.accumulate(batch, 0);
  assert(lossSum !== exact.lossSum, "gradients come from 8 bits");
});

/** The runner, telling which sessions it compiles. */
function watched(runner: Runner): { runner: Runner; labels: string[] } {
  const labels: string[] = [];
  const compile: Runner["compile"] = (model, options) => {
    labels.push(options?.label ?? "");
    return runner.compile(model, options);
  };
  const get = (target: Runner, key: keyof Runner) => {
    const value = key === "compile" ? compile : target[key];
    return typeof value === "function" ? value.bind(target) : value;
  };
  return {
    runner: new Proxy(runner, { get: (target, key) => get(target, key as keyof Runner) }),
    labels,
  };
}

Deno.test("an adapter that is no number gives gradients that are none, in fast too", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using step = stepOn(runner, "tiny-llama-genai-int4", { numeric: "fast" });
  const { value, dims } = step.parameters[0];
  value.write(float32(dims, new Float32Array(dims[0] * dims[1]).fill(NaN)));
  const { gradients } = await gradientsOf(step, [batchFor("tiny-llama-genai-int4")]);
  assert([...gradients.values()].some((gradient) => gradient.some(Number.isNaN)));
});

Deno.test("fast rounds the weights once for all batch shapes, and anew after exact", async () => {
  using ort = createOrtRunner({ threads: 1 });
  const { runner, labels } = watched(ort);
  using step = stepOn(runner, "tiny-llama-genai-int4", { headChunk: 100, numeric: "fast" });
  const rounding = () => labels.splice(0).filter((label) => label.startsWith("8-bit ")).length;
  const long = [batchOf(rowsOf([9, 6, 16]), 16, "causal")];
  const first = await gradientsOf(step, long);
  const sessions = rounding();
  assert(sessions > 0, "weights in blocks are rounded");
  await gradientsOf(step, [batchOf(rowsOf([7, 3]), 8, "causal")]);
  assertEquals(await gradientsOf(step, long), first);
  assertEquals(rounding(), 0, "another shape reads the same weights");
  await gradientOf(step, floatsBeside(step.arithmetic), ...long);
  assertEquals(rounding(), 0);
  assertEquals(await gradientsOf(step, long), first);
  assertEquals(rounding(), sessions);
});

Deno.test("checkFast() does not pass 8 bits that lose the gradient, and drops what it accumulated", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const made = adapted(withOutlier(readModel(modelDir("tiny-llama-torch-fp32")), 1e5));
  const arithmetic = arithmeticOf({ numeric: "fast", integerForm: FORM });
  using step = new PlannedModel({ runner, ...made, objective: "causal", arithmetic });
  const { cosine, passed } = await checkFast(
    step,
    besideFloats(arithmetic),
    [batchFor("tiny-llama-torch-fp32")],
  );
  assert(!passed && !(cosine >= FAST_THRESHOLD), `cosine ${cosine}`);
  assert(step.parameters.every(({ grad }) => grad === undefined));
});
