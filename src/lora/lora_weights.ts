/** The matrices of an adapter, and options of their injection. */
import type { Tensor } from "../graph/tensor.ts";

/** A pair of adapter matrices: A [rank, in], B [out, rank], float32. */
export interface LoraWeights {
  /** A, [rank, in]. */
  readonly a: Tensor;
  /** B, [out, rank]. */
  readonly b: Tensor;
  /** DoRA's magnitude m of each row of the weight, [out]: W' = m ∘ (W + scale·B·A) / ‖W + scale·B·A‖. */
  readonly magnitude?: Tensor;
  /** Factors of the rows of the weight, [out]: W' = factors ∘ W + scale·B·A. */
  readonly rowFactors?: Tensor;
}

/** How adapters are added. */
export interface InjectOptions {
  /** Makes A and B graph inputs instead of initializers, so that they can change between runs. */
  readonly asInputs?: boolean;
  /** Values of A and B whose product is subtracted at each site, by module path. */
  readonly initials?: ReadonlyMap<string, LoraWeights>;
  /** Adds a mask input for each site whose dropout is above zero; otherwise there is no dropout. */
  readonly dropout?: boolean;
}
