/** Weights that stand for others of the same type: type and dimensions are known, contents are not. */
import type { DataType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** A weight that also stands for others, or a view of it: what is read from it must hold for all of them. */
export class Parameter implements Tensor {
  readonly dtype: DataType;
  declare readonly bytes: Uint8Array;

  /**
   * @param name of the weight in its graph
   * @param weight the weight itself
   * @param read returns its contents, and throws where the others differ
   * @param dims of a view; default the weight's own
   */
  constructor(
    readonly name: string,
    readonly weight: Tensor,
    readonly read: () => Uint8Array,
    readonly dims: readonly number[] = weight.dims,
  ) {
    this.dtype = weight.dtype;
    // An own property, so that copies made by spreading have it.
    Object.defineProperty(this, "bytes", { get: read, enumerable: true });
  }

  /** The view of another weight that corresponds to this one, for a weight that it stands for. */
  viewOf(weight: Tensor): Tensor {
    return this.dims === this.weight.dims ? weight : { ...weight, dims: this.dims };
  }
}

/** A parameter's own weight, for readers that need only that one; any other tensor unchanged. */
export function weightOf(tensor: Tensor): Tensor {
  return tensor instanceof Parameter ? tensor.viewOf(tensor.weight) : tensor;
}
