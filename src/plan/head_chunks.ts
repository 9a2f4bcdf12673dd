/**
 * A frozen language-model head in chunks of the vocabulary: neither the dequantised head nor the
 * probabilities of all tokens ever exist at once.
 *
 * First pass, per chunk c with weights W_c: l_c = h·W_cᵀ; the running maximum m and sum s of
 * exp(l − m) are carried from chunk to chunk. Second pass: dh += (exp(l_c − m)/s − onehot)·W_c.
 * Source: the online softmax of Milakov and Gimelshein, arXiv:1805.02867.
 */
import { GraphBuilder } from "../graph/builder.ts";
import { float32, int64, type Tensor } from "../graph/tensor.ts";
import { byteLength } from "../graph/dtype.ts";
import type { Dim, Graph, Node } from "../graph/types.ts";
import { inferTraining } from "../ops/registry.ts";
import { emitQuantizedLinear } from "../ops/internal/quantized_linear.ts";
import { rotate, rotationBlock } from "../ops/internal/rotation.ts";
import { callOf, type PlannedCall } from "./call.ts";
import { cotangentName, LABELS, LOSS, type Numeric, ROW_WEIGHTS } from "./names.ts";
import { type Derivation, roundedRows } from "./quantize_linears.ts";

/** Entries of the vocabulary per chunk, unless a plan says otherwise. */
export const HEAD_CHUNK = 8192;

/** A head that can run in chunks: logits = hidden · weightᵀ. */
export interface ChunkableHead {
  /** [rows, K] */
  readonly hidden: string;
  readonly logits: string;
  /** Value of the weight, [vocabulary, K]. */
  readonly weight: string;
  /** Nodes that prepare the weight from initializers. */
  readonly preparing: readonly Node[];
  readonly vocabulary: number;
}

/** Finds a head whose weight is frozen and lies row by row; `undefined` where there is none. */
export function findChunkableHead(
  lowered: Graph,
  constants: ReadonlySet<string>,
  trainable: ReadonlySet<string>,
  chunk: number,
): ChunkableHead | undefined {
  const logits = lowered.outputs[0].name;
  const producers = new Map(
    lowered.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)),
  );
  const node = producers.get(logits);
  if (node === undefined || node.inputs.length !== 2) return undefined;
  const [hidden, right] = node.inputs;
  const weight = rowMajorWeight(node, right, producers);
  if (weight === undefined || !constants.has(weight) || constants.has(hidden)) return undefined;
  const dims = lowered.valueInfo.get(logits)?.type?.shape;
  if (dims?.length !== 2 || typeof dims[1] !== "number" || dims[1] <= chunk) return undefined;
  const preparing: Node[] = [];
  const visit = (value: string): boolean => {
    const producer = producers.get(value);
    if (producer === undefined) return !trainable.has(value);
    if (preparing.includes(producer)) return true;
    const fine = producer.inputs.every((input) => input === "" || visit(input));
    preparing.push(producer);
    const rows = lowered.valueInfo.get(producer.outputs[0])?.type?.shape?.[0];
    const axis = producer.attributes.axis;
    const joinsRows = producer.opType === "Concat" && axis?.kind === "int" && axis.value === 0;
    return fine && SLICEABLE.has(producer.opType) && isMultiple(rows, dims[1]) && !joinsRows;
  };
  if (!visit(weight)) return undefined;
  return { hidden, logits, weight, preparing, vocabulary: dims[1] };
}

/** Whether each row of the vocabulary takes the same number of rows: one, or one per block. */
function isMultiple(rows: Dim | undefined, vocabulary: Dim): boolean {
  return typeof rows === "number" && typeof vocabulary === "number" && rows > 0 &&
    rows % vocabulary === 0;
}

/** Operators that treat rows of a weight independently, along the first axis. */
const SLICEABLE = new Set([
  ..."DequantizeLinear GatherBlockQuantized Cast Identity Mul Sub Add".split(" "),
  ..."BitwiseAnd BitShift Concat Reshape".split(" "),
]);

function rowMajorWeight(
  node: Node,
  right: string,
  producers: ReadonlyMap<string, Node>,
): string | undefined {
  const flag = (name: string) => {
    const attribute = node.attributes[name];
    return attribute?.kind === "int" && attribute.value === 1;
  };
  if (node.opType === "Gemm") {
    const plain = ["alpha", "beta"].every((name) => {
      const attribute = node.attributes[name];
      return attribute === undefined || (attribute.kind === "float" && attribute.value === 1);
    });
    return flag("transB") && !flag("transA") && plain ? right : undefined;
  }
  if (node.opType !== "MatMul") return undefined;
  const transpose = producers.get(right);
  return transpose?.opType === "Transpose" ? transpose.inputs[0] : undefined;
}

/** The calls of a chunked head, and the slices of its weights that they read. */
export interface ChunkedHead {
  /** Loss alone; the logits are freed chunk by chunk. */
  readonly evaluation: readonly PlannedCall[];
  /** Loss and the cotangent of the hidden state. */
  readonly training: readonly PlannedCall[];
  /** Logits of the target rows, chunk by chunk. */
  readonly logits: readonly PlannedCall[];
  readonly logitsParts: readonly string[];
  /** Slices of initializers (views), starting values, by name. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Calls that round the weight to 8 bits, a chunk each; none in the `exact` setting. */
  readonly derivations: readonly Derivation[];
}

/** Plans a head's calls for `rows` target rows. */
export function planChunkedHead(
  lowered: Graph,
  head: ChunkableHead,
  rows: number,
  chunk: number,
  numeric: Numeric = "exact",
): ChunkedHead {
  const constants = new Map<string, Tensor>();
  const width = lowered.valueInfo.get(head.weight)!.type!.shape![1] as number;
  constants.set("head.max:0", float32([rows, 1], new Float32Array(rows).fill(-1e30)));
  constants.set("head.sum:0", float32([rows, 1], new Float32Array(rows)));
  constants.set("head.picked:0", float32([rows, 1], new Float32Array(rows)));
  constants.set("head.cotangent:0", float32([rows, width], new Float32Array(rows * width)));
  const starts: number[] = [];
  for (let at = 0; at < head.vocabulary; at += chunk) starts.push(at);
  const piece = (start: number) => Math.min(chunk, head.vocabulary - start);
  const context = { lowered, head, rows, width, constants, numeric };
  const forward = (keepLogits: boolean) =>
    starts.map((start, i) => forwardChunk(context, i, start, piece(start), keepLogits));
  const count = starts.length;
  return {
    evaluation: [...forward(false), lossCall(rows, count)],
    logits: forward(true),
    logitsParts: starts.map((_, i) => `head.logits:${i}`),
    training: [
      ...forward(true),
      lossCall(rows, count),
      ...starts.map((start, i) => backwardChunk(context, i, start, piece(start), count)),
      weighted(context, count),
    ],
    constants,
    derivations: numeric === "exact"
      ? []
      : starts.map((start, i) => roundedChunk(context, i, start, piece(start))),
  };
}

interface ChunkContext {
  readonly lowered: Graph;
  readonly head: ChunkableHead;
  readonly rows: number;
  readonly width: number;
  readonly constants: Map<string, Tensor>;
  readonly numeric: Numeric;
}

/** Rounds a chunk of the weight to int8 rows. */
function roundedChunk(c: ChunkContext, i: number, start: number, size: number): Derivation {
  const b = new GraphBuilder(inferTraining);
  const { codes, scale } = roundedRows(b, chunkWeight(b, c, start, size));
  const { weight, post } = int8Names(i);
  return callOf(b, `8-bit head, chunk ${i}`, new Map([[codes, weight], [scale, post]]));
}

const int8Names = (i: number) => ({ weight: `head.int8:${i}`, post: `head.int8_scale:${i}` });

/** Declares what {@linkcode roundedChunk} makes. */
function int8Chunk(b: GraphBuilder, c: ChunkContext, i: number, size: number) {
  const { weight, post } = int8Names(i);
  b.input(weight, "int8", [size, c.width]);
  return { weight, post: b.input(post, "float32", [size]) };
}

/** Emits the chunk's weight [size, K] from slices of the initializers. */
function chunkWeight(b: GraphBuilder, c: ChunkContext, start: number, size: number): string {
  const names = new Map<string, string>();
  const slice = (name: string): string => {
    let found = names.get(name);
    if (found === undefined) names.set(name, found = sliced(b, c, name, start, size));
    return found;
  };
  for (const node of c.head.preparing) {
    const inputs = node.inputs.map((input, i) => {
      if (input === "") return "";
      // Row numbers count from the chunk's own first row, and shapes name the chunk's rows.
      if (node.opType === "GatherBlockQuantized" && i === 1) return chunkRows(b, c, size);
      if (node.opType === "Reshape" && i === 1) {
        const shape = c.lowered.valueInfo.get(node.outputs[0])!.type!.shape as readonly number[];
        return b.int64s([size * (shape[0] / c.head.vocabulary), ...shape.slice(1)]);
      }
      return slice(input);
    });
    const { opType, domain, attributes, outputs } = node;
    const made = b.emit({ opType, domain, attributes, inputs, outputCount: outputs.length });
    outputs.forEach((output, i) => names.set(output, made[i]));
  }
  return slice(c.head.weight);
}

/** An initializer's rows [start, start + size), fed as a view; one that has no rows as it is. */
function sliced(b: GraphBuilder, c: ChunkContext, name: string, start: number, size: number) {
  const whole = c.lowered.initializers.get(name);
  if (whole === undefined) throw new ReferenceError(`"${name}" is no weight of the head`);
  const cut = isMultiple(whole.dims[0], c.head.vocabulary);
  if (!cut && whole.bytes.byteLength <= SMALL_BYTES) return b.constant(whole);
  const named = cut ? `${name}[${start}:${start + size}]` : name;
  const perRow = whole.dims[0] / c.head.vocabulary;
  const tensor = cut ? rowsOf(whole, start * perRow, size * perRow) : whole;
  c.constants.set(named, tensor);
  return b.input(named, tensor.dtype, tensor.dims);
}

/** Scalars and the like are written into the graph. */
const SMALL_BYTES = 64;

/** The numbers of a chunk's rows, int64 [size]. */
function chunkRows(b: GraphBuilder, c: ChunkContext, size: number): string {
  const name = `head.rows:${size}`;
  c.constants.set(name, int64([size], Array.from({ length: size }, (_, row) => row)));
  return b.has(name) ? name : b.input(name, "int64", [size]);
}

/** Rows [start, start + size) of a tensor's first axis, as a view. */
function rowsOf(whole: Tensor, start: number, size: number): Tensor {
  const rowElements = whole.dims.slice(1).reduce((count, dim) => count * dim, 1);
  const rowBytes = byteLength(whole.dtype, rowElements);
  return {
    dtype: whole.dtype,
    dims: [size, ...whole.dims.slice(1)],
    bytes: whole.bytes.subarray(start * rowBytes, (start + size) * rowBytes),
  };
}

/** Where each row's label lies in the chunk (clamped), and whether it lies there at all. */
function labelInChunk(b: GraphBuilder, rows: number, startName: string, size: number) {
  const local = b.op("Unsqueeze", [b.op("Sub", [LABELS, startName]), b.int64s([1])]);
  const low = b.op("GreaterOrEqual", [local, b.constant(int64([], [0]))]);
  const high = b.op("Less", [local, b.constant(int64([], [size]))]);
  const inside = b.op("Cast", [b.op("And", [low, high])], { to: { kind: "int", value: 1 } });
  const atLeast = b.op("Max", [local, b.constant(int64([], [0]))]);
  const clamped = b.op("Min", [atLeast, b.constant(int64([], [size - 1]))]);
  return { index: b.reshape(clamped, [rows, 1]), inside };
}

function chunkBuilder(c: ChunkContext, start: number): { b: GraphBuilder; startName: string } {
  const b = new GraphBuilder(inferTraining);
  const startName = `head.start:${start}`;
  c.constants.set(startName, int64([], [start]));
  b.input(startName, "int64", []);
  b.input(LABELS, "int64", [c.rows]);
  return { b, startName };
}

function forwardChunk(
  c: ChunkContext,
  i: number,
  start: number,
  size: number,
  keepLogits: boolean,
): PlannedCall {
  const { b, startName } = chunkBuilder(c, start);
  b.input(c.head.hidden, "float32", [c.rows, c.width]);
  const carried = (what: string) => b.input(`head.${what}:${i}`, "float32", [c.rows, 1]);
  const [max, sum, picked] = [carried("max"), carried("sum"), carried("picked")];
  const logits = c.numeric === "fast"
    ? emitQuantizedLinear(b, {
      x: c.head.hidden,
      ...int8Chunk(b, c, i, size),
      transB: true,
      rotateX: rotationBlock(c.width),
    })
    : b.op("Gemm", [c.head.hidden, chunkWeight(b, c, start, size)], {
      transB: { kind: "int", value: 1 },
    });
  const axis = b.int64s([1]);
  const newMax = b.op("Max", [max, b.op("ReduceMax", [logits, axis])]);
  const grown = b.op("Exp", [b.op("Sub", [max, newMax])]);
  const exponentials = b.op("Exp", [b.op("Sub", [logits, newMax])]);
  const newSum = b.op("Add", [b.op("Mul", [sum, grown]), b.op("ReduceSum", [exponentials, axis])]);
  const { index, inside } = labelInChunk(b, c.rows, startName, size);
  const own = b.op("GatherElements", [logits, index], { axis: { kind: "int", value: 1 } });
  const newPicked = b.op("Add", [picked, b.op("Mul", [own, inside])]);
  const outputs = new Map([
    [newMax, `head.max:${i + 1}`],
    [newSum, `head.sum:${i + 1}`],
    [newPicked, `head.picked:${i + 1}`],
  ]);
  if (keepLogits) outputs.set(logits, `head.logits:${i}`);
  return callOf(b, `head, chunk ${i}`, outputs);
}

function lossCall(rows: number, count: number): PlannedCall {
  const b = new GraphBuilder(inferTraining);
  const carried = (what: string) => b.input(`head.${what}:${count}`, "float32", [rows, 1]);
  const [max, sum, picked] = [carried("max"), carried("sum"), carried("picked")];
  b.input(ROW_WEIGHTS, "float32", [rows]);
  const losses = b.op("Sub", [b.op("Add", [max, b.op("Log", [sum])]), picked]);
  const weightedLosses = b.op("Mul", [b.reshape(losses, [rows]), ROW_WEIGHTS]);
  const loss = b.op("ReduceSum", [weightedLosses, b.int64s([0])], {
    keepdims: { kind: "int", value: 0 },
  });
  return callOf(b, "head, loss", new Map([[loss, LOSS]]));
}

function backwardChunk(
  c: ChunkContext,
  i: number,
  start: number,
  size: number,
  count: number,
): PlannedCall {
  const { b, startName } = chunkBuilder(c, start);
  const logits = b.input(`head.logits:${i}`, "float32", [c.rows, size]);
  const max = b.input(`head.max:${count}`, "float32", [c.rows, 1]);
  const sum = b.input(`head.sum:${count}`, "float32", [c.rows, 1]);
  const cotangent = b.input(`head.cotangent:${i}`, "float32", [c.rows, c.width]);
  const { index, inside } = labelInChunk(b, c.rows, startName, size);
  const exponentials = b.op("Exp", [b.op("Sub", [logits, max])]);
  const added = c.numeric === "fast"
    ? fastDifference(b, c, i, size, { exponentials, sum, index, inside })
    : exactDifference(b, c, start, size, { exponentials, sum, index, inside });
  const total = b.op("Add", [cotangent, added]);
  return callOf(b, `head backward, chunk ${i}`, new Map([[total, `head.cotangent:${i + 1}`]]));
}

/** What a chunk's cotangents are made of: exp(l − m), its sum over all chunks, and the label. */
interface Softmax {
  readonly exponentials: string;
  readonly sum: string;
  readonly index: string;
  readonly inside: string;
}

/** (exp(l − m)/s − onehot)·W_c */
function exactDifference(
  b: GraphBuilder,
  c: ChunkContext,
  start: number,
  size: number,
  { exponentials, sum, index, inside }: Softmax,
): string {
  const probabilities = b.op("Div", [exponentials, sum]);
  const difference = b.op("ScatterElements", [probabilities, index, b.op("Neg", [inside])], {
    axis: { kind: "int", value: 1 },
    reduction: { kind: "string", value: "add" },
  });
  return b.op("MatMul", [difference, chunkWeight(b, c, start, size)]);
}

/**
 * exp(l − m)·W_c − s·W_label, rotated as the weight is; {@linkcode weighted} divides by s and rotates
 * back, once. The label's row is no part of the product: beside it, all other entries would be
 * rounded to nothing.
 */
function fastDifference(
  b: GraphBuilder,
  c: ChunkContext,
  i: number,
  size: number,
  { exponentials, sum, index, inside }: Softmax,
): string {
  const { weight, post } = int8Chunk(b, c, i, size);
  const product = emitQuantizedLinear(b, { x: exponentials, weight, transB: false, pre: post });
  const rows = b.reshape(index, [c.rows]);
  const factor = b.op("Mul", [b.op("Mul", [inside, sum]), b.op("Gather", [post, index])]);
  const codes = b.op("Cast", [b.op("Gather", [weight, rows])], { to: { kind: "int", value: 1 } });
  return b.op("Sub", [product, b.op("Mul", [codes, factor])]);
}

/** Applies the rows' weights once, at the narrow end. */
function weighted(c: ChunkContext, count: number): PlannedCall {
  const b = new GraphBuilder(inferTraining);
  const cotangent = b.input(`head.cotangent:${count}`, "float32", [c.rows, c.width]);
  b.input(ROW_WEIGHTS, "float32", [c.rows]);
  const weights = b.op("Unsqueeze", [ROW_WEIGHTS, b.int64s([1])]);
  const result = c.numeric === "fast"
    ? rotate(
      b,
      b.op("Mul", [
        cotangent,
        b.op("Div", [weights, b.input(`head.sum:${count}`, "float32", [c.rows, 1])]),
      ]),
      rotationBlock(c.width),
    )
    : b.op("Mul", [cotangent, weights]);
  return callOf(b, "head, weights", new Map([[result, cotangentName(c.head.hidden)]]));
}
