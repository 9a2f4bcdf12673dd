/** Tensors of two dimensions as matrices of doubles. */
import { type Tensor, toNumbers } from "../graph/tensor.ts";
import { type Matrix, matrixOf } from "../linalg/matrix.ts";

/** A tensor [rows, cols] as a matrix. */
export function matrixOfTensor(tensor: Tensor): Matrix {
  const [rows, cols] = tensor.dims;
  return matrixOf(rows, cols, toNumbers(tensor));
}
