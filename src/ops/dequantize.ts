/**
 * Dequantises block-wise quantised weights inside the graph, from the bytes as they lie in the file.
 *
 * The bytes stay the only copy in memory: they are (views of) initializers, and the float weight
 * exists only while the segment that needs it runs.
 */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { byteLength, type DataType } from "../graph/dtype.ts";
import { int32, reshaped, type Tensor, tensor } from "../graph/tensor.ts";
import { shared } from "./contrib/support.ts";

/**
 * How a graph dequantises 4-bit weights.
 *
 * - `gather_block`: com.microsoft.GatherBlockQuantized over all rows; twice as fast on the CPU, needs
 *   an ONNX Runtime whose kernel reads uint8 data (1.22 or newer).
 * - `dequantize_linear`: ONNX's DequantizeLinear on uint4; ONNX Runtime 1.18 has it.
 */
export type DequantForm = "gather_block" | "dequantize_linear";

const FORMS = new WeakMap<GraphBuilder, DequantForm>();

/** Chooses the form for everything emitted through `b` from now on; the default is `gather_block`. */
export function setDequantForm(b: GraphBuilder, form: DequantForm): void {
  FORMS.set(b, form);
}

/** The form that {@linkcode setDequantForm} chose. */
export function dequantForm(b: GraphBuilder): DequantForm {
  return FORMS.get(b) ?? "gather_block";
}

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
}

/**
 * Emits the float matrix.
 *
 * @returns [rows, columns], of the scales' type
 */
export function dequantizeBlocks(b: GraphBuilder, w: BlockQuantized): string {
  const blocks = Math.ceil(w.columns / w.blockSize);
  const scales = view(b, w.scales, [w.rows, blocks]);
  const float = w.zeroPoints !== undefined && b.known(w.zeroPoints).dtype !== "uint8";
  const packed = float ? undefined : w.zeroPoints;
  const padded = dequantForm(b) === "gather_block"
    ? gatherRows(b, w, blocks, scales, packed)
    : dequantizeLinear(b, w, blocks, scales, packed);
  const centred = float ? shiftBlocks(b, w, blocks, padded, scales) : padded;
  if (blocks * w.blockSize === w.columns) return centred;
  return b.op("Slice", [centred, b.int64s([0]), b.int64s([w.columns]), b.int64s([1])]);
}

function gatherRows(
  b: GraphBuilder,
  w: BlockQuantized,
  blocks: number,
  scales: string,
  zeroPoints: string | undefined,
): string {
  const inputs = [
    view(b, w.data, [w.rows, blocks * w.blockSize * w.bits / 8]),
    shared(b, `rows ${w.rows}`, () => {
      const rows = int32([w.rows], Array.from({ length: w.rows }, (_, i) => i));
      return b.constant(rows, `rows.${w.rows}`);
    }),
    scales,
  ];
  if (zeroPoints !== undefined) {
    inputs.push(view(b, zeroPoints, [w.rows, Math.ceil(blocks * w.bits / 8)]));
  }
  return b.microsoft("GatherBlockQuantized", inputs, {
    bits: int(w.bits),
    block_size: int(w.blockSize),
    gather_axis: int(0),
    quantize_axis: int(1),
  });
}

function dequantizeLinear(
  b: GraphBuilder,
  w: BlockQuantized,
  blocks: number,
  scales: string,
  zeroPoints: string | undefined,
): string {
  const dtype = w.bits === 4 ? "uint4" : "uint8";
  const points = zeroPoints === undefined
    ? filled(b, dtype, [w.rows, blocks], w.bits)
    : unpadded(b, zeroPoints, w, blocks, dtype);
  return b.op("DequantizeLinear", [
    view(b, w.data, [w.rows, blocks * w.blockSize], dtype),
    scales,
    points,
  ], { axis: int(1), block_size: int(w.blockSize) });
}

/** Zero points without the half byte that pads each row of an odd number of 4-bit ones. */
function unpadded(
  b: GraphBuilder,
  zeroPoints: string,
  w: BlockQuantized,
  blocks: number,
  dtype: DataType,
): string {
  if (w.bits === 8 || blocks % 2 === 0) return view(b, zeroPoints, [w.rows, blocks], dtype);
  return shared(b, `unpadded ${zeroPoints}`, () => {
    const { bytes } = constantOf(b, zeroPoints);
    const stride = (blocks + 1) / 2;
    const out = new Uint8Array(byteLength("uint4", w.rows * blocks));
    for (let row = 0, i = 0; row < w.rows; row++) {
      for (let block = 0; block < blocks; block++, i++) {
        const nibble = (bytes[row * stride + (block >> 1)] >> ((block & 1) * 4)) & 15;
        out[i >> 1] |= nibble << ((i & 1) * 4);
      }
    }
    return b.initializer(
      b.fresh(`${zeroPoints}.unpadded`),
      tensor("uint4", [w.rows, blocks], out),
    );
  });
}

/** The default zero point, 2^(bits-1), for each block. */
function filled(b: GraphBuilder, dtype: DataType, dims: readonly number[], bits: 4 | 8): string {
  return shared(b, `middle ${bits} ${dims}`, () => {
    const bytes = new Uint8Array(byteLength(dtype, dims[0] * dims[1])).fill(
      bits === 4 ? 0x88 : 128,
    );
    return b.constant(tensor(dtype, dims, bytes), `middle.${dims.join("x")}`);
  });
}

/** Moves the zero point from the middle to a floating one: w + (2^(bits-1) - zeroPoint) · scale. */
function shiftBlocks(
  b: GraphBuilder,
  w: BlockQuantized,
  blocks: number,
  padded: string,
  scales: string,
): string {
  const points = view(b, w.zeroPoints!, [w.rows, blocks]);
  const distance = b.op("Sub", [b.scalar(2 ** (w.bits - 1)), points]);
  const shift = b.reshape(b.op("Mul", [distance, scales]), [w.rows, blocks, 1]);
  const cube = b.reshape(padded, [w.rows, blocks, w.blockSize]);
  return b.reshape(b.op("Add", [cube, shift]), [w.rows, blocks * w.blockSize]);
}

/**
 * The same bytes under other dimensions, or as another type of the same total size: a new
 * initializer over the same memory, or a Reshape where the value is not constant.
 */
function view(
  b: GraphBuilder,
  name: string,
  dims: readonly number[],
  dtype: DataType = b.known(name).dtype,
): string {
  const known = b.known(name);
  const same = known.dims.length === dims.length && known.dims.every((dim, i) => dim === dims[i]);
  if (same && known.dtype === dtype) return name;
  if (known.value === undefined && known.dtype === dtype) return b.reshape(name, dims);
  return shared(b, `view ${name} ${dtype} ${dims}`, () => {
    const value = constantOf(b, name);
    const bytes = dtype === value.dtype ? reshaped(value, dims) : tensor(dtype, dims, value.bytes);
    return b.initializer(b.fresh(`${name}.${dtype}.${dims.join("x")}`), bytes);
  });
}

function constantOf(b: GraphBuilder, name: string): Tensor {
  const { value } = b.known(name);
  if (value === undefined) {
    throw new RangeError(`Quantised weight "${name}" must be an initializer`);
  }
  return value;
}
