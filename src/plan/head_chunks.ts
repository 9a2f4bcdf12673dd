/**
 * A frozen language-model head in chunks of the vocabulary: neither the dequantised head nor the logits of
 * all tokens ever exist at once.
 *
 * Forward and backward run together, in one pass per chunk c with weights W_c: l_c = h·W_cᵀ + b_c. The
 * running maximum m and the sum s of e_c = exp(l_c − m) are carried from chunk to chunk, and with them t =
 * Σ e_c·W_c, rescaled whenever m grows, and the label's own row of W. At the end, dh = t/s − W[label].
 * Source: the online softmax of Milakov and Gimelshein, arXiv:1805.02867.
 */
import { carriedName, type Chunk, chunkBuilder, labelInChunk } from "./chunk.ts";
import { int } from "../graph/attributes.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { filledTensor } from "../graph/extents.ts";
import { dimsIn } from "../graph/facts.ts";
import type { Extent } from "../graph/size.ts";
import { float32, type Tensor } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { inferTraining } from "../ops/registry.ts";
import { rotate, rotationBlock } from "../ops/internal/rotation.ts";
import { transpose } from "../ops/transpose.ts";
import { formOfProducts, IN_FLOATS, numericOf } from "./arithmetic.ts";
import { callOf, type PlannedCall } from "./call.ts";
import type { PlanSettings } from "./options.ts";
import { cotangentName, EXPECTED_ROWS, LOSS, ROW_WEIGHTS } from "./names.ts";
import { fastChunkCall, roundedChunk } from "./fast_head.ts";
import type { ChunkableHead } from "./chunkable_head.ts";
import { chunkBias, type ChunkContext, chunkWeight } from "./head_weight.ts";
import type { PreprocessingCall } from "./weight_preprocessing.ts";

/** Entries of the vocabulary per chunk, unless a plan says otherwise. */
export const HEAD_CHUNK = 4096;

/** The calls of a chunked head, and the slices of its weights that they read. */
export interface ChunkedHead {
  /** The loss alone; logits are freed chunk by chunk. */
  evaluation(): readonly PlannedCall[];
  /** The loss and the cotangent of the hidden state. */
  training(): readonly PlannedCall[];
  /** Logits of the target rows, chunk by chunk. */
  logits(): readonly PlannedCall[];
  readonly logitsParts: readonly string[];
  /** Slices of initializers (views) and starting values, by name, that the calls made so far read. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Calls that round the weight to 8 bits, one per chunk; none in the `exact` setting. */
  readonly preprocessing: readonly PreprocessingCall[];
}

/** Plans a head's calls for `rows` target rows. */
export function planChunkedHead(
  lowered: Graph,
  head: ChunkableHead,
  rows: Extent,
  chunk: number,
  { arithmetic = IN_FLOATS, distils = false, passControl }: Pick<
    PlanSettings,
    "arithmetic" | "distils" | "passControl"
  > = {},
): ChunkedHead {
  const constants = new Map<string, Tensor>();
  const width = dimsIn(lowered, head.hidden)[1];
  const filled = (columns: number, value: number) =>
    filledTensor("float32", [rows, columns], float32([], [value]).bytes);
  constants.set("head.max:0", filled(1, -1e30));
  for (const what of ["sum", "picked"]) constants.set(`head.${what}:0`, filled(1, 0));
  for (const what of ["total", "own"]) constants.set(`head.${what}:0`, filled(width, 0));
  const chunks: Chunk[] = [];
  for (let start = 0; start < head.vocabulary; start += chunk) {
    chunks.push({ index: chunks.length, start, size: Math.min(chunk, head.vocabulary - start) });
  }
  const form = formOfProducts(arithmetic) ?? "u8s8";
  const context = { lowered, head, rows, width, constants, form, passControl };
  const calls = (wanted: Wanted) => chunks.map((chunk) => chunkCall(context, chunk, wanted));
  const fast = numericOf(arithmetic) === "fast";
  if (fast && distils) throw new RangeError("Distillation requires `exact`");
  const count = chunks.length;
  return {
    // The loss alone is that of the model that inference runs, whatever the setting.
    evaluation: () =>
      distils
        ? [...calls("gradient"), lossCall(context, count), expectedCall(context, count)]
        : [...calls("loss"), lossCall(context, count)],
    logits: () => calls("logits"),
    logitsParts: chunks.map(({ index }) => `head.logits:${index}`),
    training: () => [
      ...(fast ? chunks.map((chunk) => fastChunkCall(context, chunk)) : calls("gradient")),
      lossCall(context, count),
      cotangentCall(context, count, { rotated: fast, distils }),
    ],
    constants,
    preprocessing: fast ? chunks.map((chunk) => roundedChunk(context, chunk)) : [],
  };
}

/** What a chunk computes in addition to its part of the loss. */
type Wanted = "loss" | "logits" | "gradient";

function chunkCall(c: ChunkContext, chunk: Chunk, wanted: Wanted): PlannedCall {
  const { b, startName, carried } = chunkBuilder(c, chunk);
  const { index: i, start, size } = chunk;
  const [max, sum, picked] = [carried("max"), carried("sum"), carried("picked")];
  const weight = chunkWeight(b, c, start, size);
  const bias = chunkBias(b, c, start, size);
  const inRows = c.head.axis === 0;
  const logits = b.op("Gemm", [c.head.hidden, weight, ...bias], { transB: int(inRows ? 1 : 0) });
  const axis = b.int64s([1]);
  const { index, inside } = labelInChunk(b, c.rows, startName, size);
  const own = b.op("GatherElements", [logits, index], { axis: int(1) });
  // The label's own logit is no larger than the chunk's largest: it is there so that it is read first, after
  // which the exponentials can take the logits' place in memory.
  const newMax = b.op("Max", [max, b.op("ReduceMax", [logits, axis]), own]);
  const grown = b.op("Exp", [b.op("Sub", [max, newMax])]);
  const exponentials = b.op("Exp", [b.op("Sub", [logits, newMax])]);
  const newSum = b.op("Add", [b.op("Mul", [sum, grown]), b.op("ReduceSum", [exponentials, axis])]);
  const newPicked = b.op("Add", [picked, b.op("Mul", [own, inside])]);
  const outputs = new Map([
    [newMax, carriedName("max", i + 1)],
    [newSum, carriedName("sum", i + 1)],
    [newPicked, carriedName("picked", i + 1)],
  ]);
  if (wanted === "logits") outputs.set(logits, `head.logits:${i}`);
  if (wanted === "gradient") {
    const product = b.op("Gemm", [exponentials, weight], { transB: int(inRows ? 0 : 1) });
    const newTotal = b.op("Add", [b.op("Mul", [carried("total"), grown]), product]);
    const label = b.reshape(index, [c.rows]);
    const gathered = b.op("Gather", [weight, label], { axis: int(c.head.axis) });
    const row = inRows ? gathered : transpose(b, gathered);
    const newOwn = b.op("Add", [carried("own"), b.op("Mul", [row, inside])]);
    outputs.set(newTotal, carriedName("total", i + 1));
    outputs.set(newOwn, carriedName("own", i + 1));
  }
  return callOf(b, `head, chunk ${i}`, outputs, { passControl: c.passControl });
}

function lossCall(c: ChunkContext, count: number): PlannedCall {
  const b = new GraphBuilder(inferTraining);
  const carried = (what: string) => b.input(`head.${what}:${count}`, "float32", [c.rows, 1]);
  const [max, sum, picked] = [carried("max"), carried("sum"), carried("picked")];
  b.input(ROW_WEIGHTS, "float32", [c.rows]);
  const losses = b.op("Sub", [b.op("Add", [max, b.op("Log", [sum])]), picked]);
  const weightedLosses = b.op("Mul", [b.reshape(losses, [c.rows]), ROW_WEIGHTS]);
  const loss = b.op("ReduceSum", [weightedLosses, b.int64s([0])], {
    keepdims: { kind: "int", value: 0 },
  });
  return callOf(b, "head, loss", new Map([[loss, LOSS]]), { passControl: c.passControl });
}

/** The mean of the weight's rows, weighted by their tokens' probabilities: t/s. */
function expectedRows(b: GraphBuilder, c: ChunkContext, count: number): string {
  const total = b.input(`head.total:${count}`, "float32", [c.rows, c.width]);
  const sum = b.input(`head.sum:${count}`, "float32", [c.rows, 1]);
  return b.op("Div", [total, sum]);
}

function expectedCall(c: ChunkContext, count: number): PlannedCall {
  const b = new GraphBuilder(inferTraining);
  const outputs = new Map([[expectedRows(b, c, count), EXPECTED_ROWS]]);
  return callOf(b, "head, expected", outputs, { passControl: c.passControl });
}

/**
 * The cotangent of the hidden state, each row with its weight; `rotated` like the sums. In distillation it is
 * that of the cross entropy with the teacher's probabilities: the same, with the rows that the teacher
 * expects in place of the labels' own.
 */
function cotangentCall(
  c: ChunkContext,
  count: number,
  { rotated, distils }: { readonly rotated: boolean; readonly distils: boolean },
): PlannedCall {
  const b = new GraphBuilder(inferTraining);
  const wanted = distils ? EXPECTED_ROWS : `head.own:${count}`;
  const ownRows = b.input(wanted, "float32", [c.rows, c.width]);
  b.input(ROW_WEIGHTS, "float32", [c.rows]);
  const weights = b.op("Unsqueeze", [ROW_WEIGHTS, b.int64s([1])]);
  const gradient = b.op("Sub", [expectedRows(b, c, count), ownRows]);
  const scaled = b.op("Mul", [gradient, weights]);
  const result = rotated ? rotate(b, scaled, rotationBlock(c.width)) : scaled;
  const outputs = new Map([[result, cotangentName(c.head.hidden)]]);
  return callOf(b, "head, cotangent", outputs, { passControl: c.passControl });
}
