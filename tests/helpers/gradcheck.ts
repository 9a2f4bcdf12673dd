/**
 * Checks one operator's rule against ONNX Runtime: inferred types and shapes, folded constants, the
 * lowered forward, and the cotangents against central differences of the operator itself.
 */
import { assertEquals } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { GraphBuilder, type Known } from "../../src/graph/builder.ts";
import type { Attributes } from "../../src/graph/builder.ts";
import { type DataType, isFloating } from "../../src/graph/dtype.ts";
import { elementCount, float32Over, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model, Node } from "../../src/graph/types.ts";
import { fromNumbers } from "../../src/ops/fold.ts";
import { inferTraining, inferWith, ruleOf, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { TRAINING_OPSET } from "../../src/ops/types.ts";
import type { DeviceTensor, Executable, Runner } from "../../src/runtime/runner.ts";
import { assertNear, assertTensor, numbersFor, runHost } from "./numbers.ts";

/** An input of a case. Without `values` it gets reproducible numbers in (-1.5, 1.5). */
export interface CaseInput {
  readonly dims: readonly number[];
  readonly dtype?: DataType;
  readonly values?: readonly number[];
  /** An initializer instead of something computed: axes, shapes, frozen weights. */
  readonly constant?: boolean;
}

/** One operator application to check. */
export interface OpCase {
  /** What is particular about the case; part of the test's title. */
  readonly title: string;
  readonly opType: string;
  readonly domain?: string;
  /** Operator set the node is written against; default 21. */
  readonly opset?: number;
  readonly inputs: readonly (CaseInput | undefined)[];
  readonly attributes?: Attributes;
  /** How many outputs the node has; default 1. */
  readonly outputs?: number;
  /** Which outputs cotangents arrive at; default: all floating ones. */
  readonly seeded?: readonly number[];
  /** Inputs to differentiate with respect to; default: all floating ones that are not constant. */
  readonly wrt?: readonly number[];
  /** Skips lowering, as rules do that emit the operator themselves. */
  readonly asEmitted?: boolean;
  /** Largest deviation allowed, relative to the largest derivative (or 1); default 5e-5. */
  readonly tolerance?: number;
  /** ONNX Runtime's first release whose CPU provider runs the operator; default the lowest supported. */
  readonly since?: readonly [number, number];
}

const inputName = (i: number) => `in${i}`;
const outputName = (i: number) => `out${i}`;

interface Prepared {
  readonly node: Node;
  readonly tensors: readonly (Tensor | undefined)[];
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly wrt: readonly number[];
}

function prepare(test: OpCase): Prepared {
  const tensors = test.inputs.map((input, i) => {
    if (input === undefined) return undefined;
    const { dims, dtype = "float32" } = input;
    const values = input.values ??
      numbersFor(`${test.opType} ${test.title} ${i}`, elementCount(dims));
    return fromNumbers(dtype, dims, values);
  });
  const node: Node = {
    name: "tested",
    opType: test.opType,
    domain: test.domain ?? "",
    inputs: tensors.map((t, i) => t === undefined ? "" : inputName(i)),
    outputs: Array.from({ length: test.outputs ?? 1 }, (_, i) => outputName(i)),
    attributes: test.attributes ?? {},
  };
  const fed = tensors.flatMap((t, i) =>
    t === undefined || test.inputs[i]!.constant ? [] : [[inputName(i), t] as const]
  );
  const wrt = test.wrt ??
    tensors.flatMap((t, i) =>
      t !== undefined && !test.inputs[i]!.constant && isFloating(t.dtype) ? [i] : []
    );
  return { node, tensors, feeds: Object.fromEntries(fed), wrt };
}

const opsetsOf = (test: OpCase) => ({
  ...TRAINING_OPSETS,
  "": test.domain ? TRAINING_OPSET : test.opset ?? TRAINING_OPSET,
});

/** The case as a model of its own, run as a user's file would be. */
function userModel(test: OpCase, { node, tensors, feeds }: Prepared): Model {
  const known = inferred(test, node, tensors, () => true);
  return {
    irVersion: 10,
    opsets: opsetsOf(test),
    metadata: {},
    graph: {
      name: "tested",
      inputs: Object.entries(feeds).map(([name, { dtype, dims }]) => ({
        name,
        type: { dtype, shape: dims },
      })),
      outputs: node.outputs.map((name, i) => ({ name, type: { dtype: known[i].dtype } })),
      initializers: new Map(
        tensors.flatMap((t, i) =>
          t === undefined || inputName(i) in feeds ? [] : [[inputName(i), t] as const]
        ),
      ),
      nodes: [node],
      valueInfo: new Map(),
    },
  };
}

function inferred(
  test: OpCase,
  node: Node,
  tensors: readonly (Tensor | undefined)[],
  constant: (i: number) => boolean,
): readonly Known[] {
  const inputs = tensors.map((t, i) =>
    t === undefined ? undefined : {
      dtype: t.dtype,
      dims: t.dims,
      ...constant(i) ? { value: t } : {},
    }
  );
  return inferWith(opsetsOf(test))(node, inputs);
}

/** The lowered forward and its pullback in one graph. */
function training(
  test: OpCase,
  { node, tensors, feeds, wrt }: Prepared,
  seeded: readonly number[],
) {
  const b = new GraphBuilder(inferTraining);
  tensors.forEach((t, i) => {
    if (t === undefined) return;
    if (inputName(i) in feeds) b.input(inputName(i), t.dtype, t.dims);
    else b.initializer(inputName(i), t);
  });
  const needed = node.outputs.map(() => true);
  const opset = test.domain ? 1 : test.opset ?? TRAINING_OPSET;
  const lowered = test.asEmitted ? undefined : ruleOf(node).lower?.(b, node, { opset, needed });
  if (lowered === undefined) b.add(node);
  const outputs = node.outputs.map((name, i) => lowered === undefined ? name : lowered[i]);
  const nodes = [...b.nodes];
  const seeds = new Map<string, string>();
  for (const i of seeded) {
    const { dtype, dims } = b.known(outputs[i]);
    seeds.set(outputs[i], b.input(`seed${i}`, dtype, dims));
  }
  const grads = wrt.length === 0
    ? new Map<string, string>()
    : pullback(b, nodes, seeds, new Set(wrt.map(inputName)));
  for (const [value, ct] of grads) assertEquals(b.dims(ct), b.dims(value), "cotangent's shape");
  // An output may be an input itself, or asked for twice: each gets a node of its own.
  const own = (value: string) => emitIdentity(b, value);
  const forward = outputs.map(own);
  const cotangents = wrt.map((i) => {
    const found = grads.get(inputName(i));
    return found === undefined ? undefined : own(found);
  });
  const kept = [...forward, ...cotangents.flatMap((c) => c === undefined ? [] : [c])];
  const graph = b.build("training", kept);
  return { b, forward, cotangents, graph };
}

/** Past the builder, which gives no name to what needs none. */
function emitIdentity(b: GraphBuilder, value: string): string {
  return b.emit({ opType: "Identity", domain: "", inputs: [value], attributes: {} })[0];
}

/** Type and shape of each differentiated input of a case, and of its cotangent; runs nothing. */
export function caseCotangents(test: OpCase): readonly { input: unknown; ct: unknown }[] {
  const prepared = prepare(test);
  const { b, cotangents } = training(test, prepared, defaultSeeds(test, prepared));
  return prepared.wrt.flatMap((i, at) => {
    const name = cotangents[at];
    const facts = (value: string) => ({ dtype: b.known(value).dtype, dims: [...b.dims(value)] });
    return name === undefined ? [] : [{ input: facts(inputName(i)), ct: facts(name) }];
  });
}

/** Outputs that get a cotangent: none where nothing is differentiated. */
function defaultSeeds(test: OpCase, { node, tensors, wrt }: Prepared): readonly number[] {
  if (wrt.length === 0) return [];
  if (test.seeded !== undefined) return test.seeded;
  const known = inferred(test, node, tensors, (i) => test.inputs[i]?.constant === true);
  return node.outputs.flatMap((_, i) => isFloating(known[i].dtype) ? [i] : []);
}

const h = 1 / 64;
const STENCIL = [[h, 8], [-h, -8], [2 * h, -1], [-2 * h, 1]] as const;

/**
 * Derivatives of Σ seed·output by central differences of fourth order; differences of outputs are
 * taken before they are added up in float64, so that float32 rounding stays near 1e-6.
 */
async function differences(
  { runner, executable, feeds, outputs }: Forward,
  prepared: Prepared,
  seeds: ReadonlyMap<number, readonly number[]>,
  input: number,
): Promise<number[]> {
  const at = prepared.tensors[input]!;
  if (seeds.size === 0) return new Array(elementCount(at.dims)).fill(0);
  using stack = new DisposableStack();
  // Of thousands of runs: what stays is uploaded once, what moves is changed where the runtime reads it.
  const held: Record<string, DeviceTensor> = {};
  for (const [name, value] of Object.entries(feeds)) held[name] = stack.use(runner.upload(value));
  const point = Float32Array.from(toNumbers(at));
  const moved = point.slice();
  held[inputName(input)] = stack.use(runner.share(float32Over(at.dims, moved)));
  const fetches = [...seeds.keys()].map((index) => outputs[index]);
  const out: number[] = [];
  for (let i = 0; i < point.length; i++) {
    let derivative = 0;
    for (const [step, weight] of STENCIL) {
      moved[i] = point[i] + step;
      const found = await executable.run(held, fetches, { brief: true });
      for (const [index, seed] of seeds) {
        using output = found[outputs[index]];
        const numbers = toNumbers(output.read());
        seed.forEach((s, j) => derivative += s * numbers[j] * weight / (12 * h));
      }
    }
    moved[i] = point[i];
    out.push(derivative);
  }
  return out;
}

/** What computes the operator. */
interface Forward {
  readonly runner: Runner;
  readonly executable: Executable;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Names of its outputs in the executable. */
  readonly outputs: readonly string[];
}

/**
 * Runs all checks on a case.
 *
 * @param runner runs the lowered forward and the cotangents
 * @param reference runs the operator itself; another one where `runner` is a release with defects
 */
export async function checkCase(
  runner: Runner,
  test: OpCase,
  reference: Runner = runner,
): Promise<void> {
  const prepared = prepare(test);
  const { node, tensors, feeds, wrt } = prepared;
  const [major, minor] = reference.version;
  const isNative = test.since === undefined || major > test.since[0] ||
    (major === test.since[0] && minor >= test.since[1]);
  const isConstant = (i: number) => test.inputs[i]?.constant === true;
  const known = inferred(test, node, tensors, isConstant);
  const folded = inferred(test, node, tensors, () => true);
  const seeded = defaultSeeds(test, prepared);
  const { graph, forward, cotangents } = training(test, prepared, seeded);
  using trained = await runner.compile({
    irVersion: 10,
    opsets: TRAINING_OPSETS,
    metadata: {},
    graph,
  });
  const seeds = new Map(
    seeded.map((i) => [i, numbersFor(`seed ${i}`, elementCount(known[i].dims))]),
  );
  const seedFeeds = Object.fromEntries(
    [...seeds].map((
      [i, values],
    ) => [`seed${i}`, fromNumbers(known[i].dtype, known[i].dims, values)]),
  );
  const lowered = await runHost(runner, trained, { ...feeds, ...seedFeeds });

  using user = isNative
    ? await reference.compile(userModel(test, prepared), { optimization: "disabled" })
    : undefined;
  const itself: Forward = user === undefined
    ? { runner, executable: trained, feeds: { ...feeds, ...seedFeeds }, outputs: forward }
    : { runner: reference, executable: user, feeds, outputs: node.outputs };
  const actual = await runHost(itself.runner, itself.executable, itself.feeds);
  itself.outputs.forEach((name, i) => {
    const value = actual[name];
    const what = `${test.opType} ${test.title}: output ${i}`;
    assertEquals(known[i].dtype, value.dtype, `${what}: inferred type`);
    assertEquals([...known[i].dims], [...value.dims], `${what}: inferred shape`);
    if (folded[i].value !== undefined) {
      assertTensor(folded[i].value!, value, 1e-6, `${what}: folded`);
    }
    assertTensor(lowered[forward[i]], value, 2e-5, `${what}: lowered`);
  });

  for (const [at, input] of wrt.entries()) {
    const expected = await differences(itself, prepared, seeds, input);
    const name = cotangents[at];
    const found = name === undefined ? expected.map(() => 0) : toNumbers(lowered[name]);
    const what = `${test.opType} ${test.title}: cotangent of input ${input}`;
    assertNear(found, expected, test.tolerance ?? 5e-5, what);
  }
}
