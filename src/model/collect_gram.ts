/** Gram matrices of layer inputs over the training data, for error-compensated rounding. */
import { byteLength } from "../graph/dtype.ts";
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { GramSource } from "../lora/merge/merge.ts";
import { type GramNames, withGramOutputs } from "../lora/merge/gram_graph.ts";
import { bindInputs } from "../plan/inputs.ts";
import type { Gram } from "../quant/hessian.ts";
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
 * Sums stay in the runtime; each request runs the data once, through the part of the graph that it
 * needs.
 *
 * @param model the base, or better the base with its adapter: what the merged layers will see
 * @throws {RangeError} where the data has no tokens
 */
export function gramSource(runner: Runner, model: Model, data: GramData): GramSource {
  return async (requests) => {
    const { model: graph, grams } = withGramOutputs(model, requests);
    using executable = await runner.compile(graph, { label: "activations" });
    let sums = grams.map(({ cols }) => runner.allocate("float32", [cols, cols]));
    let tokens = 0;
    try {
      for await (const batch of limited(data)) {
        sums = await accumulate(runner, executable, graph, batch, grams, sums);
        tokens += batch.tokenCount;
      }
      if (tokens === 0) throw new RangeError("No data was given to collect activations from");
      return new Map(grams.map(({ value, cols }, i) => [value, gramOf(sums[i], cols, tokens)]));
    } finally {
      for (const sum of sums) sum[Symbol.dispose]();
    }
  };
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

/** Runs one batch; the sums before it are disposed of, those after it returned. */
async function accumulate(
  runner: Runner,
  executable: Executable,
  { graph }: Model,
  batch: TokenBatch,
  grams: readonly GramNames[],
  sums: readonly DeviceTensor[],
): Promise<DeviceTensor[]> {
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
    const results = await executable.run(Object.fromEntries([...uploaded, ...before]));
    for (const sum of sums) sum[Symbol.dispose]();
    return grams.map(({ after }) => results[after]);
  } finally {
    for (const value of uploaded.values()) value[Symbol.dispose]();
  }
}

function gramOf(sum: DeviceTensor, cols: number, count: number): Gram {
  return { cols, count, values: Float32Array.from(toNumbers(sum.read())) };
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
