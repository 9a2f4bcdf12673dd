/**
 * Weights of `com.microsoft.MatMulBnb4`: blocks along the input dimension, 4 bits of a codebook.
 *
 * B is uint8 [N·K/2], rows end to end, the even code of a pair in the high nibble; absmax is
 * [N·K/block_size]. Source: docs/ContribOperators.md of ONNX Runtime.
 */
import { type Codebook, CODEBOOKS } from "../graph/codebook.ts";
import { elementCount, tensor } from "../graph/tensor.ts";
import { readFloats, roundToFloat, writeFloats } from "./numbers.ts";
import { Scratch } from "./scratch.ts";
import type { CodeGrid, CodeSlab, MatrixEditor, MatrixTensors, QuantisedMatrix } from "./types.ts";

/** Attributes of the operator that the layout depends on. */
export interface CodebookLayout {
  readonly codebook: Codebook;
  readonly blockSize: number;
  /** N, output features. */
  readonly rows: number;
  /** K, input features. */
  readonly cols: number;
}

/** The stored matrix of a MatMulBnb4 node. */
export class CodebookMatrix implements QuantisedMatrix {
  readonly kind = "quantised";
  readonly rows: number;
  readonly cols: number;
  readonly grid: CodeGrid;
  /** Values by nibble. */
  readonly #values: Float32Array;

  /** @throws {RangeError} if a tensor's size does not fit the layout */
  constructor(
    { codebook, blockSize, rows, cols }: CodebookLayout,
    readonly tensors: MatrixTensors,
  ) {
    this.rows = rows;
    this.cols = cols;
    this.#values = CODEBOOKS[codebook];
    // A set treats 0 and -0 as equal.
    const levels = Float32Array.from(new Set(this.#values)).sort();
    this.grid = {
      min: levels[0],
      max: levels[levels.length - 1],
      levels,
      groupRows: 1,
      groupCols: blockSize,
      hasZeroPoints: false,
    };
    const { codes, scales } = tensors;
    if (!(blockSize > 0) || cols % blockSize !== 0 || cols % 2 !== 0) {
      throw new RangeError(
        `MatMulBnb4 rows of ${cols} weights are not whole blocks of ${blockSize}`,
      );
    }
    if (scales === undefined) throw new RangeError("MatMulBnb4 weights need scales");
    expectSize("B", codes.bytes.byteLength, rows * cols / 2);
    expectSize("absmax", elementCount(scales.dims), rows * cols / blockSize);
  }

  get #blocks(): number {
    return this.cols / this.grid.groupCols;
  }

  read(from: number, to: number, scratch = new Scratch()): CodeSlab {
    const { cols } = this;
    const rows = to - from;
    const codes = scratch.float32("codes", rows * cols);
    const bytes = this.tensors.codes.bytes.subarray(from * cols / 2, to * cols / 2);
    for (let i = 0; i < bytes.length; i++) {
      codes[2 * i] = this.#values[bytes[i] >> 4];
      codes[2 * i + 1] = this.#values[bytes[i] & 15];
    }
    const groups = rows * this.#blocks;
    const scales = scratch.float32("scales", groups);
    readFloats(this.tensors.scales!, from * this.#blocks, scales);
    const zeros = scratch.float32("zeros", groups).fill(0);
    return { from, rows, cols, codes, scales, zeros };
  }

  storedScale(scale: number): number {
    return roundToFloat(this.tensors.scales!.dtype, scale);
  }

  edit(scratch = new Scratch()): MatrixEditor<CodeSlab> {
    const { codes, scales } = this.tensors;
    const bytes = scratch.copy("edited", codes.bytes);
    const newScales = scratch.copy("edited scales", scales!.bytes);
    const nibbles = new Map([...this.#values].map((value, nibble) => [value, nibble]));
    const nibbleOf = (value: number, before: number) =>
      // Keeps the original of 0 and -0.
      this.#values[before] === value ? before : nibbles.get(value)!;
    return {
      write: (slab) => {
        const start = slab.from * this.cols / 2;
        for (let i = 0; 2 * i < slab.codes.length; i++) {
          const before = bytes[start + i];
          bytes[start + i] = nibbleOf(slab.codes[2 * i], before >> 4) << 4 |
            nibbleOf(slab.codes[2 * i + 1], before & 15);
        }
        writeFloats(scales!.dtype, newScales, slab.from * this.#blocks, slab.scales);
      },
      tensors: () => ({
        codes: tensor(codes.dtype, codes.dims, bytes),
        scales: tensor(scales!.dtype, scales!.dims, newScales),
      }),
    };
  }
}

function expectSize(what: string, found: number, wanted: number): void {
  if (found === wanted) return;
  throw new RangeError(`MatMulBnb4 ${what} must have size ${wanted}: current value is ${found}`);
}
