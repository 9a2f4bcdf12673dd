/**
 * Weights as a two-dimensional integer tensor, as DequantizeLinear and MatMulInteger read them.
 *
 * Codes are int8, uint8, int4 or uint4, stored [in, out] or [out, in]. Scales are one for the tensor,
 * one per index of an axis, or one per block along an axis (DequantizeLinear's `block_size`); zero
 * points, if any, have the scales' shape and the codes' type. Source: ONNX Operators.md.
 */
import { codeRange } from "../graph/codes.ts";
import { bitsOf } from "../graph/dtype.ts";
import { elementCount, type Tensor, tensor } from "../graph/tensor.ts";
import type { CodeGrid, CodeSlab, MatrixEditor, MatrixTensors, QuantisedMatrix } from "./types.ts";
import { Scratch } from "./scratch.ts";
import { codeTensor, floatsOf, floatTensor, roundToFloat } from "./numbers.ts";

/** Layout of the scales relative to the stored tensor. */
export interface IntegerLayout {
  /** Whether the file stores [out, in] rather than [in, out]. */
  readonly outFirst: boolean;
  /** Stored axis that scales run along; ignored for one scale. */
  readonly axis: number;
  /** DequantizeLinear's `block_size`; 0 for none. */
  readonly blockSize: number;
}

/** The stored matrix of a DequantizeLinear or MatMulInteger node. */
export class IntegerMatrix implements QuantisedMatrix {
  readonly kind = "quantised";
  readonly rows: number;
  readonly cols: number;
  readonly grid: CodeGrid;
  readonly #scales: Float32Array;
  readonly #zeros: Float32Array;
  /** Strides, in groups, of (row group, column group) in the scales tensor. */
  readonly #groupStrides: readonly [number, number];
  readonly #colGroups: number;

  /**
   * @param range codes to use; default: the range of the stored codes
   * @throws {RangeError} if the scales' shape does not fit
   */
  constructor(
    readonly layout: IntegerLayout,
    readonly tensors: MatrixTensors,
    range: Pick<CodeGrid, "min" | "max"> = usedRange(tensors.codes),
  ) {
    const { codes, scales, zeroPoints } = tensors;
    if (codes.dims.length !== 2) {
      throw new RangeError(
        `Quantised weights must be two-dimensional: current shape is [${codes.dims}]`,
      );
    }
    if (scales === undefined) throw new RangeError("Quantised weights need scales");
    const [first, second] = codes.dims;
    [this.rows, this.cols] = layout.outFirst ? [first, second] : [second, first];
    const groups = groupShape(codes, scales, layout);
    const strides: [number, number] = layout.outFirst
      ? [groups.strides[0], groups.strides[1]]
      : [groups.strides[1], groups.strides[0]];
    const sizes = layout.outFirst ? groups.sizes : [groups.sizes[1], groups.sizes[0]];
    this.#groupStrides = strides;
    this.#colGroups = Math.ceil(this.cols / sizes[1]);
    this.grid = {
      ...range,
      groupRows: sizes[0],
      groupCols: sizes[1],
      hasZeroPoints: zeroPoints !== undefined && zeroPoints.bytes.some((byte) => byte !== 0),
    };
    this.#scales = floatsOf(scales);
    this.#zeros = zeroPoints === undefined
      ? new Float32Array(this.#scales.length)
      : floatsOf(zeroPoints);
    if (this.#zeros.length !== this.#scales.length && this.#zeros.length !== 1) {
      throw new RangeError(
        `Zero points must be as many as scales (${this.#scales.length}): current value is ${this.#zeros.length}`,
      );
    }
    if (this.#zeros.length !== this.#scales.length) {
      this.#zeros = new Float32Array(this.#scales.length).fill(this.#zeros[0]);
    }
  }

  #group(rowGroup: number, colGroup: number): number {
    return rowGroup * this.#groupStrides[0] + colGroup * this.#groupStrides[1];
  }

  read(from: number, to: number, scratch = new Scratch()): CodeSlab {
    const rows = to - from;
    const cols = this.cols;
    const codes = scratch.int16("codes", rows * cols);
    const get = codeReader(this.tensors.codes);
    const [rowStride, colStride] = this.#strides();
    // Column-major storage is walked in its own order: one pass over contiguous bytes.
    if (colStride === 1) {
      for (let n = 0; n < rows; n++) {
        const start = (from + n) * rowStride;
        for (let k = 0; k < cols; k++) codes[n * cols + k] = get(start + k);
      }
    } else {
      for (let k = 0; k < cols; k++) {
        const start = k * colStride + from;
        for (let n = 0; n < rows; n++) codes[n * cols + k] = get(start + n);
      }
    }
    const rowGroups = Math.ceil(rows / this.grid.groupRows);
    const firstGroup = Math.floor(from / this.grid.groupRows);
    const scales = scratch.float32("scales", rowGroups * this.#colGroups);
    const zeros = scratch.float32("zeros", scales.length);
    for (let r = 0; r < rowGroups; r++) {
      for (let c = 0; c < this.#colGroups; c++) {
        const at = this.#group(firstGroup + r, c);
        scales[r * this.#colGroups + c] = this.#scales[at];
        zeros[r * this.#colGroups + c] = this.#zeros[at];
      }
    }
    return { from, rows, cols, codes, scales, zeros };
  }

  storedScale(scale: number): number {
    return roundToFloat(this.tensors.scales!.dtype, scale);
  }

  edit(scratch = new Scratch()): MatrixEditor<CodeSlab> {
    const { codes, scales, zeroPoints } = this.tensors;
    const bytes = scratch.copy("edited", codes.bytes);
    const put = codeWriter(codes, bytes);
    const newScales = this.#scales.slice();
    const newZeros = this.#zeros.slice();
    const [rowStride, colStride] = this.#strides();
    return {
      write: (slab) => {
        for (let k = 0; k < slab.cols; k++) {
          for (let n = 0; n < slab.rows; n++) {
            put((slab.from + n) * rowStride + k * colStride, slab.codes[n * slab.cols + k]);
          }
        }
        const firstGroup = Math.floor(slab.from / this.grid.groupRows);
        for (let i = 0; i < slab.scales.length; i++) {
          const at = this.#group(
            firstGroup + Math.floor(i / this.#colGroups),
            i % this.#colGroups,
          );
          newScales[at] = slab.scales[i];
          newZeros[at] = slab.zeros[i];
        }
      },
      tensors: () => ({
        codes: tensor(codes.dtype, codes.dims, bytes),
        scales: floatTensor(scales!.dtype, scales!.dims, newScales),
        ...(zeroPoints === undefined ? {} : {
          zeroPoints: this.grid.hasZeroPoints
            ? codeTensor(
              zeroPoints.dtype,
              zeroPoints.dims,
              newZeros.subarray(0, elementCount(zeroPoints.dims)),
            )
            : zeroPoints,
        }),
      }),
    };
  }

  #strides(): readonly [number, number] {
    return this.layout.outFirst ? [this.cols, 1] : [1, this.rows];
  }
}

/**
 * Sizes of a group along the two stored axes, and strides of group indices in the scales tensor.
 */
function groupShape(codes: Tensor, scales: Tensor, layout: IntegerLayout): {
  readonly sizes: readonly [number, number];
  readonly strides: readonly [number, number];
} {
  const [first, second] = codes.dims;
  const count = elementCount(scales.dims);
  if (layout.blockSize > 0) {
    const blocked = layout.axis === 0
      ? [Math.ceil(first / layout.blockSize), second]
      : [first, Math.ceil(second / layout.blockSize)];
    if (count !== blocked[0] * blocked[1]) {
      throw new RangeError(
        `Block-wise scales of a [${codes.dims}] tensor must be [${blocked}]: current shape is [${scales.dims}]`,
      );
    }
    return {
      sizes: layout.axis === 0 ? [layout.blockSize, 1] : [1, layout.blockSize],
      strides: [blocked[1], 1],
    };
  }
  if (count === 1) return { sizes: [first, second], strides: [0, 0] };
  if (count !== codes.dims[layout.axis]) {
    throw new RangeError(
      `Scales along axis ${layout.axis} of a [${codes.dims}] tensor must be ${
        codes.dims[layout.axis]
      }: current shape is [${scales.dims}]`,
    );
  }
  return layout.axis === 0
    ? { sizes: [1, second], strides: [1, 0] }
    : { sizes: [first, 1], strides: [0, 1] };
}

/**
 * The range of the stored codes, which rounding keeps. Some quantisers halve the range because u8·s8
 * products saturate on CPUs without VNNI, others leave out −128 to keep it symmetric.
 */
function usedRange(codes: Tensor): { readonly min: number; readonly max: number } {
  const full = codeRange(codes.dtype);
  if (codes.dtype !== "int8") return full;
  let largest = 0;
  for (const byte of codes.bytes) {
    const code = (byte << 24) >> 24;
    largest = Math.max(largest, code < 0 ? -code : code);
  }
  if (largest <= 64) return { min: -64, max: Math.max(63, largest) };
  return largest === 128 ? full : { min: -127, max: 127 };
}

function codeReader(t: Tensor): (index: number) => number {
  const { bytes } = t;
  const signed = t.dtype === "int8" || t.dtype === "int4";
  if (bitsOf(t.dtype) === 8) {
    return signed ? (i) => (bytes[i] << 24) >> 24 : (i) => bytes[i];
  }
  return signed
    ? (i) => (((bytes[i >> 1] >> ((i & 1) * 4)) & 15) << 28) >> 28
    : (i) => (bytes[i >> 1] >> ((i & 1) * 4)) & 15;
}

function codeWriter(t: Tensor, bytes: Uint8Array): (index: number, code: number) => void {
  if (bitsOf(t.dtype) === 8) return (i, code) => void (bytes[i] = code & 255);
  return (i, code) => {
    const shift = (i & 1) * 4;
    bytes[i >> 1] = (bytes[i >> 1] & ~(15 << shift)) | ((code & 15) << shift);
  };
}
