/** Weights that stand for others of the same type: type and dimensions are known, contents are not. */
import type { DataType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** A weight in the place of others too, or a view of it: what is read of it has to hold for all. */
export class Parameter implements Tensor {
  readonly dtype: DataType;
  declare readonly bytes: Uint8Array;

  /**
   * @param name of the weight in its graph
   * @param weight itself
   * @param read gives its contents, and throws where the others have not the same
   * @param dims of a view; default the weight's own
   */
  constructor(
    readonly name: string,
    readonly weight: Tensor,
    readonly read: () => Uint8Array,
    readonly dims: readonly number[] = weight.dims,
  ) {
    this.dtype = weight.dtype;
    // A property of its own, or a copy of all properties would be without.
    Object.defineProperty(this, "bytes", { get: read, enumerable: true });
  }

  /** A weight that it stands for, in the shape that this one is seen in. */
  viewOf(weight: Tensor): Tensor {
    return this.dims === this.weight.dims ? weight : { ...weight, dims: this.dims };
  }
}

/** A parameter's own weight, for whoever asks about that one alone; any other tensor as it is. */
export function weightOf(tensor: Tensor): Tensor {
  return tensor instanceof Parameter ? tensor.viewOf(tensor.weight) : tensor;
}
