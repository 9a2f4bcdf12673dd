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
import { floatsOf, floatTensor, roundToFloat } from "./numbers.ts";

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
  readonly #scales: Float32Array;
  readonly #zeros: Float32Array;

  /** @throws {RangeError} where a tensor's size does not fit the layout */
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
    this.#scales = floatsOf(tensors.scales);
    this.#zeros = zeroPoints === undefined
      ? new Float32Array(rows * this.blocks).fill(2 ** (bits - 1))
      : unpackZeros(zeroPoints, bits, rows, this.blocks);
  }

  read(from: number, to: number): CodeSlab {
    const { rows, cols } = { rows: to - from, cols: this.cols };
    const codes = new Int16Array(rows * cols);
    const rowBytes = this.blocks * this.#blob;
    const bytes = this.tensors.codes.bytes;
    // Blocks lie end to end, so the padding of the last block is the row's tail.
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
    const groups = (array: Float32Array) => array.slice(from * this.blocks, to * this.blocks);
    return { from, rows, cols, codes, scales: groups(this.#scales), zeros: groups(this.#zeros) };
  }

  storedScale(scale: number): number {
    return roundToFloat(this.tensors.scales!.dtype, scale);
  }

  edit(): MatrixEditor<CodeSlab> {
    const { bits } = this.layout;
    const { codes, scales, zeroPoints } = this.tensors;
    const bytes = codes.bytes.slice();
    const newScales = this.#scales.slice();
    const newZeros = this.#zeros.slice();
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
        newScales.set(slab.scales, slab.from * this.blocks);
        newZeros.set(slab.zeros, slab.from * this.blocks);
      },
      tensors: () => ({
        codes: tensor(codes.dtype, codes.dims, bytes),
        scales: floatTensor(scales!.dtype, scales!.dims, newScales),
        ...(zeroPoints === undefined
          ? {}
          : { zeroPoints: packZeros(zeroPoints, newZeros, bits, this.rows, this.blocks) }),
      }),
    };
  }
}

/** Zero points of all blocks as numbers, [rows, blocks]. */
function unpackZeros(t: Tensor, bits: number, rows: number, blocks: number): Float32Array {
  if (isFloating(t.dtype)) {
    expectCount("zero points", t, rows * blocks);
    return floatsOf(t);
  }
  const rowBytes = Math.ceil(blocks * bits / 8);
  expectBytes("zero points", t, rows * rowBytes);
  const out = new Float32Array(rows * blocks);
  for (let n = 0; n < rows; n++) {
    for (let b = 0; b < blocks; b++) {
      out[n * blocks + b] = bits === 8
        ? t.bytes[n * rowBytes + b]
        : (t.bytes[n * rowBytes + (b >> 1)] >> ((b & 1) * 4)) & 15;
    }
  }
  return out;
}

/** Inverse of {@linkcode unpackZeros}, into the type and dimensions of `like`. */
function packZeros(
  like: Tensor,
  zeros: Float32Array,
  bits: number,
  rows: number,
  blocks: number,
): Tensor {
  if (isFloating(like.dtype)) return floatTensor(like.dtype, like.dims, zeros);
  const rowBytes = Math.ceil(blocks * bits / 8);
  // A copy, since the unused nibble that ends an odd row keeps whatever the file has there.
  const bytes = like.bytes.slice();
  for (let n = 0; n < rows; n++) {
    for (let b = 0; b < blocks; b++) {
      const zero = zeros[n * blocks + b];
      if (bits === 8) bytes[n * rowBytes + b] = zero;
      else {
        const at = n * rowBytes + (b >> 1);
        const shift = (b & 1) * 4;
        bytes[at] = (bytes[at] & ~(15 << shift)) | (zero << shift);
      }
    }
  }
  return tensor(like.dtype, like.dims, bytes);
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
