/**
 * Holds a fused operator against its lowered form: ONNX Runtime's own kernel gives the outputs, and
 * central differences of the lowered form give the gradients.
 */
import { assert } from "@std/assert";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import type { DataType } from "../../src/graph/dtype.ts";
import { type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { type DequantForm, dequantFormFor } from "../../src/ops/dequant_form.ts";
import { inferTraining, ruleOf } from "../../src/ops/registry.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { isBefore, type Release } from "../../src/runtime/release_limits.ts";
import { checkGradients, modelOf, runOn } from "./directional.ts";
import { EACH_ORT } from "./oldest_ort.ts";

export { modelOf, normal, runOn } from "./directional.ts";

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
  /** Tokens that all sequences begin with. */
  readonly common?: number;
  /** The first release that can load what the lowered form keeps of the node; default all. */
  readonly since?: Release;
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
  const opset = node.domain === "" ? test.opset ?? 21 : 1;
  const needed = node.outputs.map((output) => output !== "");
  const lowered = ruleOf(node).lower?.(b, node, {
    opset,
    needed,
    dequantForm: test.form,
    attention: { common: test.common },
  });
  if (lowered !== undefined) return lowered.filter((_, i) => needed[i]);
  b.add(node);
  return node.outputs.filter((output) => output !== "");
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
 * The kernel is that of the release graft brings; lowered forms run on the oldest supported release,
 * too.
 */
export async function checkFused(test: FusedCase): Promise<void> {
  for (const { ortLib, ignore } of EACH_ORT) {
    if (!ignore) await checkFusedOn(ortLib, test);
  }
}

async function checkFusedOn(ortLib: string | undefined, test: FusedCase): Promise<void> {
  using runner = createOrtRunner({ threads: 1, ortLib });
  if (test.since !== undefined && isBefore(runner.version, test.since)) return;
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
  if (!test.wrt?.length) return;
  const wrt = test.wrt.map((i) => `in${i}`);
  await checkGradients(runner, { b, outputs, wrt, feeds, tolerance: test.gradientTolerance });
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
