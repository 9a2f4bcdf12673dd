/** Gradients of whole graphs against central differences along random directions. */
import { assert } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import { isFloating } from "../../src/graph/dtype.ts";
import { elementCount, float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph, Model } from "../../src/graph/types.ts";
import { TRAINING_OPSETS } from "../../src/ops/registry.ts";
import type { Executable, Runner } from "../../src/runtime/runner.ts";

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

/** A model of opset 21 around a graph. */
export function modelOf(graph: Graph, opset = 21): Model {
  return { irVersion: 10, opsets: { ...TRAINING_OPSETS, "": opset }, graph, metadata: {} };
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

const dot = (a: ArrayLike<number>, c: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * c[i];
  return sum;
};

/** What to differentiate. */
export interface Differentiated {
  /** Holds the lowered graph. */
  readonly b: GraphBuilder;
  readonly outputs: readonly string[];
  /** Float inputs of the graph. */
  readonly wrt: readonly string[];
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Largest error of a directional derivative over the gradient's norm; default 2e-3. */
  readonly tolerance?: number;
  /** Length of the differences' steps; default 4e-3. */
  readonly step?: number;
}

/** Fails unless the gradient of Σ cotangent·output along random directions is that of differences. */
export async function checkGradients(runner: Runner, what: Differentiated): Promise<void> {
  const { b, outputs, wrt, feeds, tolerance = 2e-3, step = 4e-3 } = what;
  const options = { optimization: "disabled" } as const;
  const floats = outputs.filter((name) => isFloating(b.known(name).dtype));
  using forward = await runner.compile(modelOf(b.build("forward", floats)), options);
  const cotangents = floats.map((name, i) => normal(b.dims(name), 100 + i));
  const seeds = new Map(
    floats.map((name) => [name, b.input(b.fresh(`ct.${name}`), "float32", b.dims(name))] as const),
  );
  const gradients = pullback(b, [...b.nodes], seeds, new Set(wrt));
  for (const name of wrt) assert(gradients.has(name), `no gradient arrives at ${name}`);
  const backwardGraph = b.build("backward", wrt.map((name) => gradients.get(name)!));
  using backward = await runner.compile(modelOf(backwardGraph), options);
  const seedFeeds = floats.map((name, i) => [seeds.get(name)!, cotangents[i]]);
  const found = await runOn(runner, backward, { ...feeds, ...Object.fromEntries(seedFeeds) });

  const loss = async (at: Readonly<Record<string, Tensor>>) => {
    const fetched = await runOn(runner, forward, at);
    return floats.reduce(
      (sum, name, i) => sum + dot(toNumbers(fetched[name]), toNumbers(cotangents[i])),
      0,
    );
  };
  for (const [n, name] of wrt.entries()) {
    const gradient = toNumbers(found[gradients.get(name)!]);
    const size = Math.sqrt(dot(gradient, gradient));
    assert(size > 0, `the gradient of ${name} vanishes`);
    for (let direction = 0; direction < 3; direction++) {
      const along = toNumbers(normal(feeds[name].dims, 1000 + 10 * n + direction));
      const at = (h: number) => {
        const moved = Array.from(toNumbers(feeds[name]), (x, i) => x + h * along[i]);
        return loss({ ...feeds, [name]: float32(feeds[name].dims, moved) });
      };
      // Fourth-order central difference.
      const near = await at(step) - await at(-step);
      const far = await at(2 * step) - await at(-2 * step);
      const error = Math.abs((8 * near - far) / (12 * step) - dot(gradient, along)) / size;
      assert(
        error <= tolerance,
        `gradient of ${name} is off by ${error} along direction ${direction}`,
      );
    }
  }
}
