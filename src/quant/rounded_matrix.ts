/** Weights that are stored as floats and rounded in the graph: QuantizeLinear before DequantizeLinear. */
import { dequantizeLinear, quantizeLinear, type Rounding } from "../graph/quantize_linear.ts";
import { elementCount, tensor } from "../graph/tensor.ts";
import { IntegerMatrix } from "./integer_matrix.ts";
import { floatBytes } from "./numbers.ts";
import { Scratch } from "./scratch.ts";
import type { CodeGrid, CodeSlab, MatrixEditor, MatrixTensors, QuantisedMatrix } from "./types.ts";

/**
 * The matrix that the graph computes from the floats. Writing stores floats that the graph rounds to the
 * new codes; a float that is already rounded to its code is not changed.
 */
export class RoundedMatrix implements QuantisedMatrix {
  readonly kind = "quantised";
  readonly rows: number;
  readonly cols: number;
  readonly grid: CodeGrid;
  readonly #codes: IntegerMatrix;

  /**
   * @param tensors the floats as `codes`, and the parameters of their rounding
   * @param outFirst whether the file stores [out, in] rather than [in, out]
   * @throws {RangeError} if the scales' shape does not fit
   */
  constructor(
    readonly tensors: MatrixTensors,
    private readonly rounding: Rounding,
    outFirst: boolean,
  ) {
    const { axis, blockSize } = rounding;
    const codes = quantizeLinear(tensors.codes, rounding);
    this.#codes = new IntegerMatrix({ outFirst, axis, blockSize }, { ...tensors, codes });
    ({ rows: this.rows, cols: this.cols, grid: this.grid } = this.#codes);
  }

  read(from: number, to: number, scratch?: Scratch): CodeSlab {
    return this.#codes.read(from, to, scratch);
  }

  storedScale(scale: number): number {
    return this.#codes.storedScale(scale);
  }

  edit(scratch = new Scratch()): MatrixEditor<CodeSlab> {
    const editor = this.#codes.edit(scratch);
    return {
      write: (slab) => editor.write(slab),
      tensors: () => this.#asFloats(editor.tensors(), scratch),
    };
  }

  #asFloats(made: MatrixTensors, scratch: Scratch): MatrixTensors {
    const { codes: before } = this.tensors;
    const { scales = this.rounding.scales, zeroPoints } = made;
    const rounding = { ...this.rounding, scales, ...(zeroPoints ? { zeroPoints } : {}) };
    const values = scratch.float32("floats", elementCount(before.dims));
    dequantizeLinear(made.codes, rounding, values);
    const asTheyAre = quantizeLinear(before, rounding).bytes;
    const bytes = floatBytes(before.dtype, values);
    const size = bytes.length / values.length;
    for (let i = 0; i < values.length; i++) {
      if (asTheyAre[i] !== made.codes.bytes[i]) continue;
      bytes.set(before.bytes.subarray(i * size, (i + 1) * size), i * size);
    }
    return { ...made, codes: tensor(before.dtype, before.dims, bytes) };
  }
}
