/**
 * Weights of `com.microsoft.MatMulNBits`: blocks along the input dimension, 4 or 8 bits.
 *
 * B is uint8 [N, blocks, block_size·bits/8], the even code of a pair in the low nibble; scales are
 * [N, blocks]; zero points are uint8, packed per row of blocks (rows start on a byte), or of the
 * scales' type. Without them the zero is 2^(bits−1). Source: docs/ContribOperators.md of ONNX Runtime.
 */
import { isFloating } from "../graph/dtype.ts";
import { elementCount, type Tensor, tensor } from "../graph/tensor.ts";
import type { CodeGrid, CodeSlab, MatrixEditor, MatrixTensors, QuantisedMatrix } from "./types.ts";
import { readFloats, roundToFloat, writeFloats } from "./numbers.ts";
import { Scratch } from "./scratch.ts";

/** Attributes of the operator that the layout depends on. */
export interface NBitsLayout {
  readonly bits: 4 | 8;
  readonly blockSize: number;
  /** N, output features. */
  readonly rows: number;
  /** K, input features. */
  readonly cols: number;
}

/** The stored matrix of a MatMulNBits node. */
export class NBitsMatrix implements QuantisedMatrix {
  readonly kind = "quantised";
  readonly rows: number;
  readonly cols: number;
  readonly grid: CodeGrid;
  readonly blocks: number;
  readonly #blob: number;

  /** @throws {RangeError} if a tensor's size does not fit the layout */
  constructor(readonly layout: NBitsLayout, readonly tensors: MatrixTensors) {
    const { bits, blockSize, rows, cols } = layout;
    this.rows = rows;
    this.cols = cols;
    this.blocks = Math.ceil(cols / blockSize);
    this.#blob = blockSize * bits / 8;
    const zeroPoints = tensors.zeroPoints;
    this.grid = {
      min: 0,
      max: 2 ** bits - 1,
      groupRows: 1,
      groupCols: blockSize,
      hasZeroPoints: zeroPoints !== undefined,
    };
    if (tensors.scales === undefined) throw new RangeError("MatMulNBits weights need scales");
    expectBytes("B", tensors.codes, rows * this.blocks * this.#blob);
    expectCount("scales", tensors.scales, rows * this.blocks);
    if (zeroPoints === undefined) return;
    if (isFloating(zeroPoints.dtype)) expectCount("zero points", zeroPoints, rows * this.blocks);
    else expectBytes("zero points", zeroPoints, rows * this.#zeroRowBytes);
  }

  /** Bytes of a row of packed zero points. */
  get #zeroRowBytes(): number {
    return Math.ceil(this.blocks * this.layout.bits / 8);
  }

  read(from: number, to: number, scratch = new Scratch()): CodeSlab {
    const { rows, cols } = { rows: to - from, cols: this.cols };
    const codes = scratch.int16("codes", rows * cols);
    const rowBytes = this.blocks * this.#blob;
    const bytes = this.tensors.codes.bytes;
    // Blocks are contiguous, so the padding of the last block is the end of the row.
    for (let n = 0; n < rows; n++) {
      const start = (from + n) * rowBytes;
      const at = n * cols;
      if (this.layout.bits === 8) {
        for (let k = 0; k < cols; k++) codes[at + k] = bytes[start + k];
      } else {
        for (let k = 0; k < cols; k++) {
          codes[at + k] = (bytes[start + (k >> 1)] >> ((k & 1) * 4)) & 15;
        }
      }
    }
    const groups = rows * this.blocks;
    const scales = scratch.float32("scales", groups);
    readFloats(this.tensors.scales!, from * this.blocks, scales);
    const zeros = scratch.float32("zeros", groups);
    this.#readZeros(from, zeros);
    return { from, rows, cols, codes, scales, zeros };
  }

  /** Reads zero points of the blocks of rows from `from` on, as many as fit in `out`. */
  #readZeros(from: number, out: Float32Array): void {
    const { layout: { bits }, blocks, tensors: { zeroPoints } } = this;
    if (zeroPoints === undefined) return void out.fill(2 ** (bits - 1));
    if (isFloating(zeroPoints.dtype)) return void readFloats(zeroPoints, from * blocks, out);
    const { bytes } = zeroPoints;
    const rowBytes = this.#zeroRowBytes;
    for (let i = 0; i < out.length; i++) {
      const start = (from + Math.floor(i / blocks)) * rowBytes;
      const b = i % blocks;
      out[i] = bits === 8 ? bytes[start + b] : (bytes[start + (b >> 1)] >> ((b & 1) * 4)) & 15;
    }
  }

  storedScale(scale: number): number {
    return roundToFloat(this.tensors.scales!.dtype, scale);
  }

  edit(scratch = new Scratch()): MatrixEditor<CodeSlab> {
    const { bits } = this.layout;
    const { codes, scales, zeroPoints } = this.tensors;
    const bytes = scratch.copy("edited", codes.bytes);
    const newScales = scratch.copy("edited scales", scales!.bytes);
    // The unused nibble at the end of an odd row keeps the file's contents.
    const newZeros = zeroPoints && scratch.copy("edited zeros", zeroPoints.bytes);
    const rowBytes = this.blocks * this.#blob;
    return {
      write: (slab) => {
        for (let n = 0; n < slab.rows; n++) {
          const start = (slab.from + n) * rowBytes;
          for (let k = 0; k < slab.cols; k++) {
            const code = slab.codes[n * slab.cols + k];
            if (bits === 8) bytes[start + k] = code;
            else {
              const shift = (k & 1) * 4;
              const at = start + (k >> 1);
              bytes[at] = (bytes[at] & ~(15 << shift)) | (code << shift);
            }
          }
        }
        writeFloats(scales!.dtype, newScales, slab.from * this.blocks, slab.scales);
        if (newZeros !== undefined) this.#writeZeros(newZeros, slab.from, slab.zeros);
      },
      tensors: () => ({
        codes: tensor(codes.dtype, codes.dims, bytes),
        scales: tensor(scales!.dtype, scales!.dims, newScales),
        ...(newZeros === undefined
          ? {}
          : { zeroPoints: tensor(zeroPoints!.dtype, zeroPoints!.dims, newZeros) }),
      }),
    };
  }

  /** Inverse of {@linkcode #readZeros}. */
  #writeZeros(bytes: Uint8Array, from: number, zeros: Float32Array): void {
    const { layout: { bits }, blocks } = this;
    const { dtype } = this.tensors.zeroPoints!;
    if (isFloating(dtype)) return writeFloats(dtype, bytes, from * blocks, zeros);
    const rowBytes = this.#zeroRowBytes;
    for (let i = 0; i < zeros.length; i++) {
      const start = (from + Math.floor(i / blocks)) * rowBytes;
      const b = i % blocks;
      if (bits === 8) bytes[start + b] = zeros[i];
      else {
        const at = start + (b >> 1);
        const shift = (b & 1) * 4;
        bytes[at] = (bytes[at] & ~(15 << shift)) | (zeros[i] << shift);
      }
    }
  }
}

function expectBytes(what: string, t: Tensor, bytes: number): void {
  if (t.bytes.byteLength !== bytes) {
    throw new RangeError(
      `MatMulNBits ${what} must have ${bytes} bytes: current value is ${t.bytes.byteLength}`,
    );
  }
}

function expectCount(what: string, t: Tensor, count: number): void {
  if (elementCount(t.dims) !== count) {
    throw new RangeError(
      `MatMulNBits ${what} must have ${count} elements: current value is ${elementCount(t.dims)}`,
    );
  }
}
