/** Runs a model of the fixtures on token ids and reads its logits. */
import { int64, type Tensor, tensor, toNumbers } from "../../src/graph/tensor.ts";
import { byteLength } from "../../src/graph/dtype.ts";
import type { Model } from "../../src/graph/types.ts";
import { bindInputs } from "../../src/plan/inputs.ts";
import type { CompileOptions, Runner } from "../../src/runtime/runner.ts";

/** Feeds for every input that the given tensors leave open: empty caches, zeros elsewhere. */
function feedsOf(model: Model, given: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const [batch, length] = given.get("input_ids")!.dims;
  const open = model.graph.inputs.filter(({ name }) => !given.has(name));
  const bound = bindInputs({ ...model.graph, inputs: [...model.graph.inputs] }, { batch, length });
  const feeds = new Map<string, Tensor>();
  for (const { name } of model.graph.inputs) {
    const value = given.get(name);
    if (value !== undefined) feeds.set(name, value);
  }
  for (const { name } of open) {
    const { dtype, dims } = bound.get(name)!;
    const count = dims.reduce((a, b) => a * b, 1);
    feeds.set(name, tensor(dtype, dims, new Uint8Array(byteLength(dtype, count))));
  }
  return feeds;
}

/** One output of a model as numbers. */
export async function runOutput(
  runner: Pick<Runner, "compile" | "upload">,
  model: Model,
  given: ReadonlyMap<string, Tensor>,
  output = "logits",
  options: CompileOptions = {},
): Promise<Float32Array> {
  using executable = await runner.compile(model, options);
  const feeds = [...feedsOf(model, given)].map(([name, value]) =>
    [name, runner.upload(value)] as const
  );
  const fetched = await executable.run(Object.fromEntries(feeds), [output]);
  const values = Float32Array.from(toNumbers(fetched[output].read()));
  for (const [, value] of feeds) value[Symbol.dispose]();
  for (const value of Object.values(fetched)) value[Symbol.dispose]();
  return values;
}

/** Random-looking token ids and a full mask, [batch, length]. */
export function tokenFeeds(batch: number, length: number, vocabulary: number): Map<string, Tensor> {
  const ids = Array.from({ length: batch * length }, (_, i) => (i * 7919 + 13) % vocabulary);
  return new Map([
    ["input_ids", int64([batch, length], ids)],
    ["attention_mask", int64([batch, length], ids.map(() => 1))],
  ]);
}

/** Largest absolute difference, and that divided by the largest absolute value of `expected`. */
export function difference(found: ArrayLike<number>, expected: ArrayLike<number>) {
  let absolute = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    absolute = Math.max(absolute, Math.abs(found[i] - expected[i]));
    scale = Math.max(scale, Math.abs(expected[i]));
  }
  return { absolute, relative: absolute / scale };
}
