/** Lists of sizes, positions and axes, which a runtime must read to infer shapes. */
import { elementCount, type Tensor } from "./tensor.ts";

/** Entries of the longest such list: parts of a Split. Tables of positions have more. */
const MOST_ENTRIES = 8192;

/**
 * Whether a tensor may be a list of sizes: ONNX Runtime's shape inference reads such values (Split's
 * parts, Reshape's shape) and fails if they are outside the protobuf.
 */
export function isShapeList({ dtype, dims }: Pick<Tensor, "dtype" | "dims">): boolean {
  return (dtype === "int64" || dtype === "int32") && dims.length <= 1 &&
    elementCount(dims) <= MOST_ENTRIES;
}
