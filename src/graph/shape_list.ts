/** Lists of sizes, positions and axes: what a runtime must read before it knows shapes. */
import { elementCount, type Tensor } from "./tensor.ts";

/** Entries of the longest such list: parts of a Split. Tables of positions have more. */
const MOST_ENTRIES = 8192;

/**
 * Whether a tensor may say sizes: ONNX Runtime's shape inference looks at such values (Split's parts,
 * Reshape's shape) and fails where they lie outside the protobuf.
 */
export function isShapeList({ dtype, dims }: Pick<Tensor, "dtype" | "dims">): boolean {
  return (dtype === "int64" || dtype === "int32") && dims.length <= 1 &&
    elementCount(dims) <= MOST_ENTRIES;
}
