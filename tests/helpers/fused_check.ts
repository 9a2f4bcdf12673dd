/**
 * Holds a fused operator against its lowered form: ONNX Runtime's own kernel gives the outputs, and
 * central differences of the lowered form give the gradients.
 */
import { assert } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import { type DataType, isFloating } from "../../src/graph/dtype.ts";
import { elementCount, float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { type DequantForm, dequantFormFor, setDequantForm } from "../../src/ops/dequantize.ts";
import { inferTraining, ruleOf, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Executable, Runner } from "../../src/runtime/runner.ts";

/** An input that is an initializer, as weights are. */
export interface Constant {
  readonly constant: Tensor;
}

/** An input of the operator under test; `undefined` is an absent optional one. */
export type TestInput = Tensor | Constant | undefined;

export interface FusedCase {
  readonly opType: string;
  readonly domain?: string;
  readonly attributes?: Attributes;
  readonly inputs: readonly TestInput[];
  /** Which outputs to compute, by number; the others are absent. */
  readonly outputs?: readonly number[];
  /** Which inputs to differentiate, by number. */
  readonly wrt?: readonly number[];
  /** Opset of the ONNX domain that the reference is written against. */
  readonly opset?: number;
  readonly form?: DequantForm;
  /** What the outputs should be, where ONNX Runtime's CPU provider has no kernel. */
  readonly expected?: readonly Tensor[];
  /** An equivalent node for the kernel, where ONNX Runtime's CPU provider cannot run this one. */
  readonly kernelInputs?: readonly TestInput[];
  readonly kernelAttributes?: Attributes;
  /** Leaves elements out of the comparison: those of padded rows. */
  readonly ignore?: (output: number, index: number) => boolean;
  /** Largest difference over the reference's largest value; default 1e-5. */
  readonly tolerance?: number;
  /** Largest error of a directional derivative over the gradient's norm; default 2e-3. */
  readonly gradientTolerance?: number;
}

export const constant = (tensor: Tensor): Constant => ({ constant: tensor });

const isConstant = (input: TestInput): input is Constant =>
  input !== undefined && "constant" in input;

/** Pseudo-random numbers, about normal, the same for the same seed. */
export function normal(dims: readonly number[], seed = 1, scale = 1): Tensor {
  let state = (seed * 2654435761) >>> 0;
  const next = () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 3266489917) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
  const values = Float32Array.from(
    { length: elementCount(dims) },
    () => (next() + next() + next() + next() - 2) * Math.sqrt(3) * scale,
  );
  return float32(dims, values);
}

/** The node of a case, with inputs named `in0`, `in1`, … and outputs `out0`, …. */
export function nodeOf(test: FusedCase): Node {
  const outputs = test.outputs ?? [0];
  const inputs = test.inputs.map((input, i) => input === undefined ? "" : `in${i}`);
  while (inputs.at(-1) === "") inputs.pop();
  return {
    name: "under_test",
    opType: test.opType,
    domain: test.domain ?? "com.microsoft",
    inputs,
    outputs: Array.from(
      { length: Math.max(...outputs) + 1 },
      (_, i) => outputs.includes(i) ? `out${i}` : "",
    ),
    attributes: test.attributes ?? {},
  };
}

/** Declares a case's inputs in a builder. */
function declare(b: GraphBuilder, test: FusedCase): void {
  test.inputs.forEach((input, i) => {
    if (input === undefined) return;
    if (isConstant(input)) b.initializer(`in${i}`, input.constant);
    else b.input(`in${i}`, input.dtype, input.dims);
  });
}

/** Lowers a case's node; returns the names of its outputs. */
export function lower(b: GraphBuilder, test: FusedCase): readonly string[] {
  const node = nodeOf(test);
  declare(b, test);
  if (test.form !== undefined) setDequantForm(b, test.form);
  const opset = node.domain === "" ? test.opset ?? 21 : 1;
  const needed = node.outputs.map((output) => output !== "");
  const lowered = ruleOf(node).lower?.(b, node, { opset, needed });
  if (lowered !== undefined) return lowered.filter((_, i) => needed[i]);
  b.add(node);
  return node.outputs.filter((output) => output !== "");
}

/** A model of opset 21 around a graph. */
export function modelOf(graph: Graph, opset = 21): Model {
  return { irVersion: 10, opsets: { ...TRAINING_OPSETS, "": opset }, graph, metadata: {} };
}

/** The user's side: the one node, run by ONNX Runtime's kernel. */
function reference(test: FusedCase, types: readonly DataType[]): Model {
  const node = nodeOf(test);
  const present = test.inputs.map((input, i) => ({ input, name: `in${i}` }));
  const graph: Graph = {
    name: "reference",
    inputs: present.flatMap(({ input, name }) =>
      input === undefined || isConstant(input)
        ? []
        : [{ name, type: { dtype: input.dtype, shape: input.dims } }]
    ),
    outputs: node.outputs.filter((output) => output !== "").map((name, i) => ({
      name,
      type: { dtype: types[i] },
    })),
    initializers: new Map(
      present.flatMap(({ input, name }) => isConstant(input) ? [[name, input.constant]] : []),
    ),
    nodes: [node],
    valueInfo: new Map(),
  };
  return modelOf(graph, test.opset);
}

/** Runs an executable on host tensors. */
export async function runOn(
  runner: Runner,
  executable: Executable,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  const uploaded = Object.fromEntries(
    executable.inputNames.map((name) => [name, runner.upload(feeds[name])]),
  );
  const fetched = await executable.run(uploaded);
  const out: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(fetched)) {
    out[name] = tensor.read();
    tensor[Symbol.dispose]();
  }
  for (const tensor of Object.values(uploaded)) tensor[Symbol.dispose]();
  return out;
}

/** Largest difference over the largest reference value, over the elements that count. */
export function distance(
  a: Tensor,
  reference: Tensor,
  ignore: (index: number) => boolean = () => false,
): number {
  assert(
    `${a.dims}` === `${reference.dims}`,
    `shapes differ: [${a.dims}] against [${reference.dims}]`,
  );
  const [x, y] = [toNumbers(a), toNumbers(reference)];
  let [difference, size] = [0, 1e-30];
  for (let i = 0; i < y.length; i++) {
    if (ignore(i)) continue;
    if (Number.isNaN(x[i]) || Number.isNaN(y[i])) return Infinity;
    difference = Math.max(difference, Math.abs(x[i] - y[i]));
    size = Math.max(size, Math.abs(y[i]));
  }
  return difference / size;
}

const feedsOf = (test: FusedCase): Record<string, Tensor> =>
  Object.fromEntries(
    test.inputs.flatMap((input, i) =>
      input === undefined || isConstant(input) ? [] : [[`in${i}`, input]]
    ),
  );

/**
 * Fails unless the lowered form computes what the kernel does, and its gradients are right.
 *
 * The kernel is that of the release graft brings; lowered forms run on `GRAFT_ORT_LIB` where that
 * is set, so that the tests hold for older releases too.
 */
export async function checkFused(test: FusedCase): Promise<void> {
  using runner = createOrtRunner({ threads: 1, ortLib: Deno.env.get("GRAFT_ORT_LIB") });
  const b = new GraphBuilder(inferTraining);
  const outputs = lower(b, { ...test, form: test.form ?? dequantFormFor(runner.version) });
  using lowered = await runner.compile(modelOf(b.build("lowered", outputs)), {
    optimization: "disabled",
  });
  const feeds = feedsOf(test);
  const actual = await runOn(runner, lowered, feeds);

  const expected = test.expected ??
    await kernelOutputs(test, outputs.map((name) => b.known(name).dtype));
  outputs.forEach((name, i) => {
    const ignore = (index: number) => test.ignore?.(i, index) ?? false;
    const error = distance(actual[name], expected[i], ignore);
    const tolerance = test.tolerance ?? 1e-5;
    assert(error <= tolerance, `output ${i} differs by ${error}: allowed is ${tolerance}`);
  });
  if (test.wrt?.length) await checkGradients(runner, b, test, outputs, lowered);
}

async function kernelOutputs(
  test: FusedCase,
  types: readonly DataType[],
): Promise<readonly Tensor[]> {
  using runner = createOrtRunner({ threads: 1 });
  test = {
    ...test,
    inputs: test.kernelInputs ?? test.inputs,
    attributes: test.kernelAttributes ?? test.attributes,
  };
  using kernel = await runner.compile(reference(test, types), { optimization: "disabled" });
  const fetched = await runOn(runner, kernel, feedsOf(test));
  return kernel.outputNames.map((name) => fetched[name]);
}

const dot = (a: ArrayLike<number>, c: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * c[i];
  return sum;
};

/** Compares the gradient of Σ cotangent·output along random directions with central differences. */
async function checkGradients(
  runner: Runner,
  b: GraphBuilder,
  test: FusedCase,
  outputs: readonly string[],
  forward: Executable,
): Promise<void> {
  const floats = outputs.filter((name) => isFloating(b.known(name).dtype));
  const cotangents = new Map(
    floats.map((name, i) => [name, normal(b.dims(name), 100 + i)] as const),
  );
  const names = test.wrt!.map((i) => `in${i}`);
  const seeds = new Map(
    floats.map((name) => [name, b.input(b.fresh(`ct.${name}`), "float32", b.dims(name))] as const),
  );
  const gradients = pullback(b, [...b.nodes], seeds, new Set(names));
  for (const name of names) assert(gradients.has(name), `no gradient arrives at ${name}`);
  using backward = await runner.compile(
    modelOf(b.build("backward", names.map((name) => gradients.get(name)!))),
    { optimization: "disabled" },
  );
  const feeds = feedsOf(test);
  const seedFeeds = floats.map((name) => [seeds.get(name)!, cotangents.get(name)!]);
  const found = await runOn(runner, backward, { ...feeds, ...Object.fromEntries(seedFeeds) });

  const loss = async (at: Record<string, Tensor>) => {
    const fetched = await runOn(runner, forward, at);
    return floats.reduce(
      (sum, name) => sum + dot(toNumbers(fetched[name]), toNumbers(cotangents.get(name)!)),
      0,
    );
  };
  for (const [n, name] of names.entries()) {
    const gradient = toNumbers(found[gradients.get(name)!]);
    const size = Math.sqrt(dot(gradient, gradient));
    assert(size > 0, `the gradient of ${name} vanishes`);
    for (let direction = 0; direction < 3; direction++) {
      const along = toNumbers(normal(feeds[name].dims, 1000 + 10 * n + direction));
      const at = (step: number) => {
        const moved = Array.from(toNumbers(feeds[name]), (x, i) => x + step * along[i]);
        return loss({ ...feeds, [name]: float32(feeds[name].dims, moved) });
      };
      const h = 4e-3;
      // Fourth-order central difference.
      const numeric = (8 * (await at(h) - await at(-h)) - (await at(2 * h) - await at(-2 * h))) /
        (12 * h);
      const error = Math.abs(numeric - dot(gradient, along)) / size;
      const allowed = test.gradientTolerance ?? 2e-3;
      assert(
        error <= allowed,
        `gradient of ${name} is off by ${error} along direction ${direction}`,
      );
    }
  }
}
