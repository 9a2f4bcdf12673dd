/** Weights of plain MatMul and Gemm: float32, float16 or bfloat16, stored [in, out] or [out, in]. */
import { type Tensor, toNumbers } from "../graph/tensor.ts";
import type { FloatMatrix, FloatSlab, MatrixEditor } from "./types.ts";
import { floatTensor } from "./numbers.ts";

/** A float matrix seen as [out, in]; throws a `RangeError` unless the tensor has two dimensions. */
export function floatMatrix(values: Tensor, outFirst: boolean): FloatMatrix {
  if (values.dims.length !== 2) {
    throw new RangeError(`Weights must be two-dimensional: current shape is [${values.dims}]`);
  }
  const [rows, cols] = outFirst ? values.dims : [values.dims[1], values.dims[0]];
  const [rowStride, colStride] = outFirst ? [cols, 1] : [1, rows];
  // Types that need converting, or bytes that lie unaligned in the file, are converted once.
  let numbers: ReturnType<typeof toNumbers> | undefined;
  return {
    kind: "float",
    rows,
    cols,
    tensors: { codes: values },
    read(from, to): FloatSlab {
      numbers ??= toNumbers(values);
      const out = new Float32Array((to - from) * cols);
      for (let n = from; n < to; n++) {
        for (let k = 0; k < cols; k++) {
          out[(n - from) * cols + k] = numbers[n * rowStride + k * colStride];
        }
      }
      return { from, rows: to - from, cols, values: out };
    },
    edit(): MatrixEditor<FloatSlab> {
      const edited = Float32Array.from(toNumbers(values));
      return {
        write(slab) {
          for (let n = 0; n < slab.rows; n++) {
            for (let k = 0; k < cols; k++) {
              edited[(slab.from + n) * rowStride + k * colStride] = slab.values[n * cols + k];
            }
          }
        },
        tensors: () => ({ codes: floatTensor(values.dtype, values.dims, edited) }),
      };
    },
  };
}
