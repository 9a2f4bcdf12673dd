/** Weights of plain MatMul and Gemm: float32, float16 or bfloat16, stored [in, out] or [out, in]. */
import { type Tensor, tensor } from "../graph/tensor.ts";
import type { FloatMatrix, FloatSlab, MatrixEditor } from "./types.ts";
import { readFloats, writeFloats } from "./numbers.ts";
import { Scratch } from "./scratch.ts";

/** A float matrix seen as [out, in]; throws a `RangeError` unless the tensor has two dimensions. */
export function floatMatrix(values: Tensor, outFirst: boolean): FloatMatrix {
  if (values.dims.length !== 2) {
    throw new RangeError(`Weights must be two-dimensional: current shape is [${values.dims}]`);
  }
  const [rows, cols] = outFirst ? values.dims : [values.dims[1], values.dims[0]];
  return {
    kind: "float",
    rows,
    cols,
    tensors: { codes: values },
    read(from, to, scratch = new Scratch()): FloatSlab {
      const count = (to - from) * cols;
      const out = scratch.float32("values", count);
      if (outFirst) readFloats(values, from * cols, out);
      else {
        const column = scratch.float32("column", to - from);
        for (let k = 0; k < cols; k++) {
          readFloats(values, k * rows + from, column);
          for (let n = 0; n < column.length; n++) out[n * cols + k] = column[n];
        }
      }
      return { from, rows: to - from, cols, values: out };
    },
    edit(scratch = new Scratch()): MatrixEditor<FloatSlab> {
      const { dtype, dims } = values;
      const bytes = scratch.copy("edited", values.bytes);
      return {
        write(slab) {
          if (outFirst) return writeFloats(dtype, bytes, slab.from * cols, slab.values);
          const column = scratch.float32("column", slab.rows);
          for (let k = 0; k < cols; k++) {
            for (let n = 0; n < column.length; n++) column[n] = slab.values[n * cols + k];
            writeFloats(dtype, bytes, k * rows + slab.from, column);
          }
        },
        tensors: () => ({ codes: tensor(dtype, dims, bytes) }),
      };
    },
  };
}
