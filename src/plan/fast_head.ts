/**
 * A chunk of the head in the `fast` setting: both of its products in 8-bit integers.
 *
 * With codes C (integers up to 127) and scales s of the chunk's rows, W = s ⊙ C and l = h·Wᵀ + b, the
 * backward pass needs Σ_j e_j·s_j·C_j, e = exp(l − m). Plain rounding would drop all but the likeliest
 * tokens, and with them most of the gradient. Therefore
 *
 * - the label's own row of W is handled separately, as in floats;
 * - a row's largest value *of the chunk* has the code 255;
 * - each token has its own threshold from which a fraction is rounded up, with the thresholds spread evenly
 *   over [0, 1): of many small values, as many are rounded up as their sum says.
 *
 * ln s is added with the product's bias, so that the exponential directly yields e·s; the sum of e alone is a
 * product with the vector 1/s.
 */
import { int } from "../graph/attributes.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { ONNX_TYPE } from "../graph/dtype.ts";
import { float32, tensor } from "../graph/tensor.ts";
import { inferTraining } from "../ops/registry.ts";
import { rotate, rotationBlock } from "../ops/internal/rotation.ts";
import { transpose } from "../ops/transpose.ts";
import { weightType } from "../ops/internal/integer_form.ts";
import { zeroPoint } from "../ops/internal/rounded_rows.ts";
import { ZERO_POINTS } from "../graph/codes.ts";
import { callOf, type PlannedCall } from "./call.ts";
import { carriedName, type Chunk, chunkBuilder, labelInChunk } from "./chunk.ts";
import { chunkBias, type ChunkContext, chunkWeight } from "./head_weight.ts";
import type { PreprocessingCall } from "./weight_preprocessing.ts";
import { roundedRows } from "./quantize_linears.ts";

/** Largest code of a probability. */
const LEVELS = 255;

/** The results of {@linkcode roundedChunk}: codes [size, K], float32 [size], [size] and [size, 1]. */
const roundedNames = (index: number) => ({
  codes: `head.8bit:${index}`,
  scale: `head.8bit_scale:${index}`,
  logScale: `head.8bit_log_scale:${index}`,
  inverseScale: `head.8bit_inverse_scale:${index}`,
});

/** Rounds a chunk of the weight to 8-bit rows, with the logarithms and inverses of their scales. */
export function roundedChunk(c: ChunkContext, { index, start, size }: Chunk): PreprocessingCall {
  const b = new GraphBuilder(inferTraining);
  const weight = chunkWeight(b, c, start, size);
  const inRows = c.head.axis === 0 ? weight : transpose(b, weight);
  const { codes, scale } = roundedRows(b, inRows, c.form);
  const names = roundedNames(index);
  const outputs = new Map([
    [codes, names.codes],
    [scale, names.scale],
    [b.op("Log", [scale]), names.logScale],
    [b.op("Unsqueeze", [b.op("Reciprocal", [scale]), b.int64s([1])]), names.inverseScale],
  ]);
  return callOf(b, `8-bit head, chunk ${index}`, outputs, { passControl: c.passControl });
}

/** A chunk's part of the loss, and of the sums over the weight's rows, which are rotated like the rows. */
export function fastChunkCall(c: ChunkContext, chunk: Chunk): PlannedCall {
  const { b, startName, carried } = chunkBuilder(c, chunk);
  const { index: i, start, size } = chunk;
  const [max, sum, picked] = [carried("max"), carried("sum"), carried("picked")];
  const names = roundedNames(i);
  const codes = b.input(names.codes, weightType(c.form), [size, c.width]);
  const scale = b.input(names.scale, "float32", [size]);
  const logScale = b.input(names.logScale, "float32", [size]);
  const bias = chunkBias(b, c, start, size);
  const addend = bias.length > 0 ? b.op("Add", [logScale, ...bias]) : logScale;
  const shifted = scaledLogits(b, c, codes, scale, addend);
  const { index, inside } = labelInChunk(b, c.rows, startName, size);
  const shiftedOwn = b.op("GatherElements", [shifted, index], { axis: int(1) });
  // exp(l + ln s), with the largest of the chunk at 255. The label's own is no larger than that: it is there
  // so that it is read first, after which the exponentials can take the place of `shifted` in memory.
  const top = b.op("Sub", [
    b.op("Max", [b.op("ReduceMax", [shifted, b.int64s([1])]), shiftedOwn]),
    b.scalar(Math.log(LEVELS)),
  ]);
  const values = b.op("Exp", [b.op("Sub", [shifted, top])]);
  // The chunk contributes as much to the softmax as one token with this logit.
  const inverse = b.input(names.inverseScale, "float32", [size, 1]);
  const logit = b.op("Add", [b.op("Log", [b.op("MatMul", [values, inverse])]), top]);
  const newMax = b.op("Max", [max, logit]);
  const grown = b.op("Exp", [b.op("Sub", [max, newMax])]);
  const share = b.op("Exp", [b.op("Sub", [logit, newMax])]);
  const newSum = b.op("Add", [b.op("Mul", [sum, grown]), share]);
  const own = b.op("Sub", [shiftedOwn, b.op("Gather", [logScale, index])]);
  const newPicked = b.op("Add", [picked, b.op("Mul", [own, inside])]);
  // The value of code 1, relative to the largest so far.
  const unit = b.op("Exp", [b.op("Sub", [top, newMax])]);
  const product = b.op("Mul", [productOfCodes(b, c, values, codes), unit]);
  const newTotal = b.op("Add", [b.op("Mul", [carried("total"), grown]), product]);
  const label = b.reshape(index, [c.rows]);
  const row = integersOf(b, b.op("Gather", [codes, label]));
  const rowScale = b.op("Mul", [b.op("Gather", [scale, index]), inside]);
  const newOwn = b.op("Add", [carried("own"), b.op("Mul", [row, rowScale])]);
  return callOf(
    b,
    `head, chunk ${i}`,
    new Map([
      [newMax, carriedName("max", i + 1)],
      [newSum, carriedName("sum", i + 1)],
      [newPicked, carriedName("picked", i + 1)],
      [newTotal, carriedName("total", i + 1)],
      [newOwn, carriedName("own", i + 1)],
    ]),
    { passControl: c.passControl },
  );
}

/**
 * h·Wᵀ plus a row, [rows, size]. All rows of the hidden state are rounded with one scale: it is normalised,
 * and a scale per row would take another pass over the logits.
 */
function scaledLogits(
  b: GraphBuilder,
  c: ChunkContext,
  codes: string,
  scale: string,
  addend: string,
): string {
  const rotated = rotate(b, c.head.hidden, rotationBlock(c.width));
  const [hidden, hiddenScale, hiddenZero] = b.ops("DynamicQuantizeLinear", [rotated], 3);
  const codesTransposed = transpose(b, codes);
  return b.microsoft(
    "MatMulIntegerToFloat",
    [
      hidden,
      codesTransposed,
      hiddenScale,
      scale,
      hiddenZero,
      zeroPoint(b, weightType(c.form)),
      addend,
    ],
  );
}

/** Converts codes to floats around 0. */
function integersOf(b: GraphBuilder, codes: string): string {
  const floats = b.op("Cast", [codes], { to: int(ONNX_TYPE.float32) });
  const isSigned = b.known(codes).dtype === "int8";
  return isSigned ? floats : b.op("Sub", [floats, b.scalar(ZERO_POINTS.uint8)]);
}

/** Integer product of values up to 255 and the weight's codes: [rows, K]. */
function productOfCodes(b: GraphBuilder, c: ChunkContext, values: string, codes: string): string {
  const [size] = b.dims(codes);
  const zero = b.constant(tensor("uint8", [], Uint8Array.of(0)), "zero");
  // Rounds to nearest; adding a token's threshold minus one half makes it round up above that threshold.
  const rounded = b.op("QuantizeLinear", [
    b.op("Add", [values, thresholds(b, c, size)]),
    b.scalar(1),
    zero,
  ]);
  const one = b.scalar(1);
  return b.microsoft(
    "MatMulIntegerToFloat",
    [rounded, codes, one, one, zero, zeroPoint(b, weightType(c.form))],
  );
}

/** Multiples of the golden ratio modulo 1 are evenly spread, however many are taken. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** Each token's threshold, minus the half at which rounding to nearest rounds up: [1, size]. */
function thresholds(b: GraphBuilder, c: ChunkContext, size: number): string {
  const name = `head.thresholds:${size}`;
  if (!c.constants.has(name)) {
    const values = Float32Array.from({ length: size }, (_, j) => (j * GOLDEN) % 1 - 0.5);
    c.constants.set(name, float32([1, size], values));
  }
  return b.input(name, "float32", [1, size]);
}
