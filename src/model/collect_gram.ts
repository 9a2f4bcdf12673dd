/** Gram matrices of layer inputs over the training data, for error-compensated rounding. */
import { byteLength } from "../graph/dtype.ts";
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { GramSource } from "../lora/merge/merge.ts";
import { type GramNames, withGramOutputs } from "../lora/merge/gram_graph.ts";
import { bindInputs } from "../plan/inputs.ts";
import { Scratch } from "../quant/scratch.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import { type TokenBatch, tokenInput } from "../data/targets.ts";

/** Training data, given again from the start each time it is asked for. */
export interface GramData {
  batches(): Iterable<TokenBatch> | AsyncIterable<TokenBatch>;
  /** Tokens to stop after; default 16,384. */
  readonly maxTokens?: number;
}

/**
 * A source of Gram matrices that runs a model over data.
 *
 * Each request runs the data once, through the part of the graph that it needs. The runtime adds to
 * the sums where they lie, in an array that the next request uses again: what one gave is then lost.
 *
 * @param model the base, or better the base with its adapter: what the merged layers will see
 * @throws {RangeError} where the data has no tokens
 */
export function gramSource(runner: Runner, model: Model, data: GramData): GramSource {
  const scratch = new Scratch();
  return async (requests) => {
    const { model: graph, grams } = withGramOutputs(model, requests);
    const all = scratch.float32("grams", grams.reduce((sum, { cols }) => sum + cols * cols, 0));
    all.fill(0);
    let at = 0;
    const values = grams.map(({ cols }) => all.subarray(at, at += cols * cols));
    using executable = await runner.compile(graph, {
      label: "activations",
      config: SESSION_CONFIG,
      // Lengths differ from run to run: a plan of memory for each would be kept.
      memoryPattern: false,
    });
    using tensors = new DisposableStack();
    const sums = grams.map(({ cols }, i) =>
      tensors.use(runner.share(float32Over([cols, cols], values[i])))
    );
    let tokens = 0;
    for await (const batch of limited(data)) {
      await accumulate(runner, executable, graph, batch, grams, sums);
      tokens += batch.tokenCount;
    }
    if (tokens === 0) throw new RangeError("No data was given to collect activations from");
    return new Map(
      grams.map(({ value, cols }, i) => [value, { cols, count: tokens, values: values[i] }]),
    );
  };
}

/** Weights packed for the kernels would be a copy of them, as large as the file. */
const SESSION_CONFIG = { "session.disable_prepacking": "1" };

/** The caller's floats as a tensor. */
function float32Over(dims: readonly number[], values: Float32Array<ArrayBuffer>): Tensor {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { dtype: "float32", dims, bytes };
}

async function* limited({ batches, maxTokens = 16_384 }: GramData): AsyncGenerator<TokenBatch> {
  let tokens = 0;
  for await (const batch of batches()) {
    for (const row of unpadded(batch)) {
      yield row;
      tokens += row.tokenCount;
      if (tokens >= maxTokens) return;
    }
  }
}

/** Runs one batch and adds it to the sums. */
async function accumulate(
  runner: Runner,
  executable: Executable,
  { graph }: Model,
  batch: TokenBatch,
  grams: readonly GramNames[],
  sums: readonly DeviceTensor[],
): Promise<void> {
  const before = new Map(grams.map(({ before }, i) => [before, sums[i]]));
  const [rows, length] = batch.inputIds.dims;
  const inputs = graph.inputs.filter(({ name }) => !before.has(name));
  const uploaded = new Map<string, DeviceTensor>();
  try {
    for (
      const [name, { dtype, dims }] of bindInputs({ ...graph, inputs }, { batch: rows, length })
    ) {
      const empty = { dtype, dims, bytes: new Uint8Array(byteLength(dtype, 0)) };
      uploaded.set(name, runner.upload(tokenInput(name, batch) ?? empty));
    }
    const feeds = Object.fromEntries([...uploaded, ...before]);
    const fetches = grams.map(({ after }) => after);
    // Gemm begins with a copy of what it adds to, which in place is none.
    const into = Object.fromEntries(grams.map(({ after }, i) => [after, sums[i]]));
    if (runner.inPlace) return void await executable.run(feeds, fetches, { into });
    const results = await executable.run(feeds, fetches);
    grams.forEach(({ after }, i) => {
      using result = results[after];
      sums[i].write(result.read());
    });
  } finally {
    for (const value of uploaded.values()) value[Symbol.dispose]();
  }
}

/**
 * The sequences of a batch one by one without their padding, so that every row of every value belongs
 * to a token. Labels and classes are left out.
 */
export function* unpadded(batch: TokenBatch): Generator<TokenBatch> {
  const [rows, length] = batch.inputIds.dims;
  const mask = toNumbers(batch.attentionMask);
  for (let row = 0; row < rows; row++) {
    let tokens = 0;
    while (tokens < length && mask[row * length + tokens] !== 0) tokens++;
    if (tokens === 0) continue;
    const cut = (value: Tensor) => {
      const ids = toNumbers(value);
      return int64(
        [1, tokens],
        Array.from({ length: tokens }, (_, t) => ids[row * length + t]),
      );
    };
    yield {
      inputIds: cut(batch.inputIds),
      attentionMask: cut(batch.attentionMask),
      ...(batch.tokenTypeIds === undefined ? {} : { tokenTypeIds: cut(batch.tokenTypeIds) }),
      tokenCount: tokens,
    };
  }
}
