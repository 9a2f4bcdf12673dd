/** Runs a user's graph on a batch. */
import type { TokenBatch } from "../data/targets.ts";
import { float32, type Tensor } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { MASK_SUFFIX } from "../plan/dropout.ts";
import { bindInputs } from "../plan/inputs.ts";
import type { DeviceTensor, Runnable, Runner, RunOptions } from "../runtime/runner.ts";
import { batchFeed } from "./batch_feed.ts";
import { emptyRecord } from "../records.ts";

/**
 * Runs a graph on a batch; empty caches stand for "no past".
 *
 * @param outputs names of those to fetch, which are then the caller's; default all
 */
export async function runOn(
  runner: Runner,
  executable: Runnable,
  graph: Graph,
  batch: TokenBatch,
  extra: ReadonlyMap<string, Tensor>,
  outputs?: readonly string[],
  options?: RunOptions,
): Promise<Record<string, DeviceTensor>> {
  const [sequences, length] = batch.inputIds.dims;
  const feeds = emptyRecord<DeviceTensor>();
  try {
    for (const [name, value] of extra) feeds[name] = runner.wrap(value);
    const inputs = graph.inputs.filter(({ name }) => !extra.has(name));
    // Outside training nothing is dropped.
    for (const { name } of inputs) {
      if (name.endsWith(MASK_SUFFIX)) feeds[name] = runner.upload(float32([1], [1]));
    }
    const bound = bindInputs({ ...graph, inputs }, { batch: sequences, length });
    for (const [name, input] of bound) feeds[name] = runner.wrap(batchFeed(name, input, batch));
    return await executable.run(feeds, outputs, options);
  } finally {
    for (const feed of Object.values(feeds)) feed[Symbol.dispose]();
  }
}
