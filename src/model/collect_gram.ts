/** Gram matrices of layer inputs over the training data, for error-compensated rounding. */
import { byteLength } from "../graph/dtype.ts";
import { elementCount, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { GramRequest, GramSource } from "../lora/merge/merge.ts";
import { withGramOutputs } from "../lora/merge/gram_graph.ts";
import type { Gram } from "../quant/hessian.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";

/** Inputs of one run of the model, by name. Rows may be padded where `attention_mask` says so. */
export type HostFeeds = Readonly<Record<string, Tensor>>;

export interface GramData {
  /** Gives the batches again from the start each time it is called. */
  batches(): Iterable<HostFeeds> | AsyncIterable<HostFeeds>;
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
    const wanted = new Set(graph.graph.inputs.map((input) => input.name));
    let sums = grams.map(({ cols }) => runner.allocate("float32", [cols, cols]));
    let tokens = 0;
    try {
      const limit = data.maxTokens ?? 16_384;
      for await (const batch of data.batches()) {
        for (const row of unpadded(batch)) {
          const length = row.attention_mask?.dims[1] ?? 1;
          sums = await accumulate(
            runner,
            executable.run.bind(executable),
            row,
            wanted,
            grams,
            sums,
          );
          tokens += length;
          if (tokens >= limit) break;
        }
        if (tokens >= limit) break;
      }
      if (tokens === 0) throw new RangeError("No data was given to collect activations from");
      return new Map(grams.map(({ value, cols }, i) => [value, gramOf(sums[i], cols, tokens)]));
    } finally {
      for (const sum of sums) sum[Symbol.dispose]();
    }
  };
}

async function accumulate(
  runner: Runner,
  run: (feeds: Record<string, DeviceTensor>) => Promise<Record<string, DeviceTensor>>,
  row: HostFeeds,
  wanted: ReadonlySet<string>,
  grams: readonly (GramRequest & { before: string; after: string })[],
  sums: readonly DeviceTensor[],
): Promise<DeviceTensor[]> {
  const inputs = Object.entries(row).filter(([name]) => wanted.has(name))
    .map(([name, value]) => [name, runner.upload(value)] as const);
  try {
    const feeds = Object.fromEntries([
      ...inputs,
      ...grams.map(({ before }, i) => [before, sums[i]] as const),
    ]);
    const results = await run(feeds);
    for (const sum of sums) sum[Symbol.dispose]();
    return grams.map(({ after }) => results[after]);
  } finally {
    for (const [, value] of inputs) value[Symbol.dispose]();
  }
}

function gramOf(sum: DeviceTensor, cols: number, count: number): Gram {
  return { cols, count, values: Float32Array.from(toNumbers(sum.read())) };
}

/**
 * The examples of a padded batch one by one, without their padding: every row of every value then
 * belongs to a token. Inputs shaped like `attention_mask` are cut, others keep their row.
 */
export function* unpadded(batch: HostFeeds): Generator<HostFeeds> {
  const mask = batch.attention_mask;
  if (mask === undefined || mask.dims.length !== 2) return yield batch;
  const [rows, columns] = mask.dims;
  const present = toNumbers(mask);
  for (let row = 0; row < rows; row++) {
    const kept = Array.from({ length: columns }, (_, c) => c)
      .filter((c) => present[row * columns + c] !== 0);
    if (kept.length === 0) continue;
    yield Object.fromEntries(
      Object.entries(batch).map(([name, value]) => [
        name,
        value.dims[0] !== rows
          ? value
          : value.dims.length === 2 && value.dims[1] === columns
          ? pick(value, row, kept)
          : oneRow(value, row),
      ]),
    );
  }
}

/** Elements `columns` of one row of a two-dimensional tensor, [1, columns]. */
function pick(value: Tensor, row: number, columns: readonly number[]): Tensor {
  const size = byteLength(value.dtype, 1);
  const bytes = new Uint8Array(columns.length * size);
  columns.forEach((column, i) => {
    const from = (row * value.dims[1] + column) * size;
    bytes.set(value.bytes.subarray(from, from + size), i * size);
  });
  return { dtype: value.dtype, dims: [1, columns.length], bytes };
}

function oneRow(value: Tensor, row: number): Tensor {
  const dims = [1, ...value.dims.slice(1)];
  const size = byteLength(value.dtype, elementCount(dims));
  return { dtype: value.dtype, dims, bytes: value.bytes.subarray(row * size, (row + 1) * size) };
}
