/** The stored weight of a linear layer, as [out, in] whatever the layout. */
import { BadInputError } from "../errors.ts";
import { CodebookMatrix } from "../quant/codebook_matrix.ts";
import { readValues } from "../quant/dequantize.ts";
import { floatMatrix } from "../quant/float_matrix.ts";
import { IntegerMatrix } from "../quant/integer_matrix.ts";
import { NBitsMatrix } from "../quant/nbits_matrix.ts";
import { RoundedMatrix } from "../quant/rounded_matrix.ts";
import type { MatrixTensors, StoredMatrix } from "../quant/types.ts";
import { float32, type Tensor } from "../graph/tensor.ts";
import type { GraphIndex } from "./graph_index.ts";
import type { LinearForm } from "./linear_form.ts";

/**
 * Opens the stored matrix of a linear, all columns of a fused one.
 *
 * @throws {BadInputError} if the tensors do not fit together, naming the weight
 */
export function storedMatrix(index: GraphIndex, linear: LinearForm): StoredMatrix {
  const find = (name: string | undefined) => name === undefined ? undefined : index.constant(name);
  const codes = find(linear.weight);
  if (codes === undefined) {
    throw new BadInputError(`The graph has no initializer "${linear.weight}"`);
  }
  const scales = find(linear.scales);
  const zeroPoints = find(linear.zeroPoints);
  const tensors: MatrixTensors = {
    codes,
    ...(scales === undefined ? {} : { scales }),
    ...(zeroPoints === undefined ? {} : { zeroPoints }),
  };
  try {
    return open(linear, tensors);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new BadInputError(`Weight "${linear.weight}": ${error.message}`, { cause: error });
  }
}

function open(linear: LinearForm, tensors: MatrixTensors): StoredMatrix {
  const { layout, bits, roundedTo, axis = 1, blockSize = 0, codebook } = linear;
  const { scales, zeroPoints } = tensors;
  const size = { rows: linear.slice?.total ?? linear.outFeatures, cols: linear.inFeatures };
  if (codebook !== undefined) return new CodebookMatrix({ ...size, codebook, blockSize }, tensors);
  if (layout === "NBits") {
    if (bits !== 4 && bits !== 8) {
      throw new RangeError(`MatMulNBits weights must have 4 or 8 bits: current value is ${bits}`);
    }
    return new NBitsMatrix({ ...size, bits, blockSize }, tensors);
  }
  const outFirst = layout === "NK";
  if (scales === undefined) return floatMatrix(tensors.codes, outFirst);
  if (roundedTo === undefined) return new IntegerMatrix({ outFirst, axis, blockSize }, tensors);
  const rounding = { dtype: roundedTo, scales, zeroPoints, axis, blockSize };
  return new RoundedMatrix(tensors, rounding, outFirst);
}

/** A linear's weight as float32 [out, in]; of a fused one only the slice's rows. */
export function weightValues(index: GraphIndex, linear: LinearForm): Tensor {
  const from = linear.slice?.offset ?? 0;
  const values = readValues(storedMatrix(index, linear), from, from + linear.outFeatures);
  return float32([linear.outFeatures, linear.inFeatures], values);
}
