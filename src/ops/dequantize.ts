/**
 * Dequantises block-wise quantised weights inside the graph, from the bytes as the file stores them.
 *
 * The bytes stay the only copy in memory: they are (views of) initializers, and the float weight
 * exists only while the segment that needs it runs.
 */
import type { DequantForm } from "./dequant_form.ts";
import { int, string } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { ascending, tensor } from "../graph/tensor.ts";
import { reshaped } from "../graph/reshaped.ts";
import { castTo } from "./cast.ts";
import { scalarOf } from "./broadcast.ts";
import { shared } from "./contrib/support.ts";

/** A matrix quantised in blocks along its last dimension, packed as MatMulNBits packs it. */
export interface BlockQuantized {
  /** uint8, [rows, blocks · blockSize · bits / 8] in any shape. */
  readonly data: string;
  /** Floating, [rows, blocks] in any shape. */
  readonly scales: string;
  /**
   * uint8 [rows, ceil(blocks · bits / 8)], packed like the data, or floating [rows, blocks];
   * without it the zero point is 2^(bits-1).
   */
  readonly zeroPoints?: string;
  readonly rows: number;
  /** Columns in use; the last block may be padded. */
  readonly columns: number;
  readonly bits: 4 | 8;
  readonly blockSize: number;
  /** Whether nothing is differentiated by the scales; default: whether they are constants. */
  readonly frozen?: boolean;
}

/**
 * Emits the float matrix.
 *
 * @param form default `gather_block`
 * @returns [rows, columns], of the scales' type
 */
export function dequantizeBlocks(
  b: GraphBuilder,
  w: BlockQuantized,
  form: DequantForm | undefined,
): string {
  const blocks = Math.ceil(w.columns / w.blockSize);
  const packed: Packed = {
    ...w,
    blocks,
    data: view(b, w.data, [w.rows, blocks * w.blockSize * w.bits / 8]),
    scales: view(b, w.scales, [w.rows, blocks]),
  };
  // The kernel that gathers has no derivative with respect to its scales.
  const areFrozen = w.frozen ?? b.known(packed.scales).value !== undefined;
  const gathers = areFrozen && (form ?? "gather_block") === "gather_block";
  const padded = gathers ? gatherRows(b, packed) : computeRows(b, packed);
  if (blocks * w.blockSize === w.columns) return padded;
  return b.op("Slice", [padded, b.int64s([0]), b.int64s([w.columns]), b.int64s([1])]);
}

/** Data as [rows, bytes] and scales as [rows, blocks]. */
interface Packed extends BlockQuantized {
  readonly blocks: number;
}

/** [rows, blocks · blockSize] by GatherBlockQuantized. */
function gatherRows(b: GraphBuilder, w: Packed): string {
  const rows = shared(b, `rows ${w.rows}`, () => {
    return b.constant(ascending(w.rows), `rows.${w.rows}`);
  });
  const inputs = [w.data, rows, w.scales];
  // Kernels disagree on where a row's zero points begin if half a byte pads the previous row.
  const ragged = w.bits === 4 && w.blocks % 2 === 1;
  const inKernel = w.zeroPoints !== undefined && isPacked(b, w.zeroPoints) && !ragged;
  if (inKernel) {
    inputs.push(view(b, w.zeroPoints, [w.rows, Math.ceil(w.blocks * w.bits / 8)]));
  }
  const centred = b.microsoft("GatherBlockQuantized", inputs, {
    bits: int(w.bits),
    block_size: int(w.blockSize),
    gather_axis: int(0),
    quantize_axis: int(1),
  });
  if (w.zeroPoints === undefined || inKernel) return centred;
  return movedFromMiddle(b, w, centred);
}

/**
 * [rows, blocks · blockSize] as (q - zeroPoint) · scale: one DequantizeLinear whose channels are the
 * blocks. Its kernel for channels is quicker than that for blocks, and than a Cast, a Sub and a Mul.
 */
function computeRows(b: GraphBuilder, w: Packed): string {
  const integers = unpacked(b, w.data, w.bits);
  const channels = w.rows * w.blocks;
  const cubed = b.reshape(integers, [channels, w.blockSize]);
  const scales = view(b, w.scales, [channels]);
  const scaled = b.op("DequantizeLinear", [cubed, scales, middlePoints(b, w)], { axis: int(0) });
  const rows = b.reshape(scaled, [w.rows, w.blocks * w.blockSize]);
  if (w.zeroPoints === undefined || isPacked(b, w.zeroPoints)) return rows;
  return movedFromMiddle(b, w, rows);
}

/** uint8 [rows · blocks]: packed zero points, unpacked, else the middle of the range. */
function middlePoints(b: GraphBuilder, w: Packed): string {
  const channels = w.rows * w.blocks;
  if (w.zeroPoints !== undefined && isPacked(b, w.zeroPoints)) {
    return b.reshape(integerPoints(b, w), [channels]);
  }
  const middle = 2 ** (w.bits - 1);
  return shared(b, `middle ${w.bits} ${channels}`, () => {
    const values = tensor("uint8", [channels], filled(middle, channels));
    return b.constant(values, `middle.${w.bits}.${channels}`);
  });
}

/** Arrays of one value, by value and length. */
const filledArrays = new Map<string, WeakRef<Uint8Array>>();

/**
 * The same array for every graph that is lowered: at a byte per block of the model, one for each graph would
 * be much.
 */
function filled(value: number, length: number): Uint8Array {
  const key = `${value} ${length}`;
  const found = filledArrays.get(key)?.deref();
  if (found !== undefined) return found;
  const made = new Uint8Array(length).fill(value);
  filledArrays.set(key, new WeakRef(made));
  return made;
}

/** Moves the zero point from the middle: w + (2^(bits-1) - zeroPoint) · scale. */
function movedFromMiddle(b: GraphBuilder, w: Packed, centred: string): string {
  const { dtype } = b.known(w.scales);
  const distance = b.op("Sub", [scalarOf(b, dtype, 2 ** (w.bits - 1)), zeroPoints(b, w)]);
  const shift = b.reshape(b.op("Mul", [distance, w.scales]), [w.rows, w.blocks, 1]);
  const cube = b.reshape(centred, [w.rows, w.blocks, w.blockSize]);
  return b.reshape(b.op("Add", [cube, shift]), [w.rows, w.blocks * w.blockSize]);
}

/** Zero points as [rows, blocks] of the scales' type. */
function zeroPoints(b: GraphBuilder, w: Packed): string {
  const { dtype } = b.known(w.scales);
  const given = w.zeroPoints!;
  const integers = isPacked(b, given) ? integerPoints(b, w) : view(b, given, [w.rows, w.blocks]);
  return castTo(b, integers, dtype);
}

/** Packed zero points as uint8 [rows, blocks]. */
function integerPoints(b: GraphBuilder, w: Packed): string {
  const bytes = view(b, w.zeroPoints!, [w.rows, Math.ceil(w.blocks * w.bits / 8)]);
  const all = unpacked(b, bytes, w.bits);
  if (b.dims(all)[1] === w.blocks) return all;
  return b.op("Slice", [all, b.int64s([0]), b.int64s([w.blocks]), b.int64s([1])]);
}

const isPacked = (b: GraphBuilder, zeroPoints: string) => b.known(zeroPoints).dtype === "uint8";

/** uint8 [rows, bytes] unpacked to one integer per element: [rows, bytes · 8 / bits], low bits first. */
function unpacked(b: GraphBuilder, bytes: string, bits: 4 | 8): string {
  if (bits === 8) return bytes;
  const [rows, count] = b.dims(bytes);
  const uint8 = (value: number) => b.constant(tensor("uint8", [], Uint8Array.of(value)));
  const low = b.op("BitwiseAnd", [bytes, uint8(15)]);
  const high = b.op("BitShift", [bytes, uint8(4)], { direction: string("RIGHT") });
  const pairs = [low, high].map((x) => b.reshape(x, [rows, count, 1]));
  return b.reshape(b.op("Concat", pairs, { axis: int(2) }), [rows, 2 * count]);
}

/** A value with other dimensions: for an initializer, another one over the same memory; else a Reshape. */
export function view(b: GraphBuilder, name: string, dims: readonly number[]): string {
  const { value, dims: now } = b.known(name);
  if (now.length === dims.length && now.every((dim, i) => dim === dims[i])) return name;
  if (value === undefined) return b.reshape(name, dims);
  return shared(
    b,
    `view ${name} ${dims}`,
    () => b.initializer(b.fresh(`${name}.${dims.join("x")}`), reshaped(value, dims)),
  );
}
