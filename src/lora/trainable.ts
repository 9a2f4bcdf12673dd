/** Tensors of an edited graph that training changes. */
import type { Tensor } from "../graph/tensor.ts";
import type { Model, ValueInfo } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import type { BottleneckPart } from "./bottleneck/config.ts";
import type { GraphEdit } from "./edit.ts";

/** A vector of the graph that is trained where it is (`vectors/`). */
export type VectorPart = "vector weight" | "vector bias";

/** A tensor that training changes, under the initializer's (or graph input's) name. */
export interface Trainable {
  /** Module path. */
  readonly path: string;
  /** Which tensor of the module it is. */
  readonly which:
    | "A"
    | "B"
    | "magnitude"
    | "weight"
    | "bias"
    | BottleneckPart
    | "virtual"
    | VectorPart;
  /** Its dimensions. */
  readonly dims: readonly number[];
}

/** A model with trainable tensors, by name. */
export interface WithTrainable {
  /** The model with these tensors as inputs of training. */
  readonly model: Model;
  /** Trainable tensors by name. */
  readonly trainable: ReadonlyMap<string, Trainable>;
}

/** Weight [out, in] and bias [out] of a linear layer, float32. */
export interface LinearWeights {
  /** [out, in]. */
  readonly weight: Tensor;
  /** [out]. */
  readonly bias: Tensor;
}

/** Declares a trainable tensor as an initializer, or as a graph input, and adds it to `trainable`. */
export function declareTrainable(
  edit: GraphEdit,
  trainable: Map<string, Trainable>,
  name: string,
  what: Trainable,
  value: Tensor,
  { asInputs }: { readonly asInputs?: boolean },
): string {
  trainable.set(name, what);
  const info: ValueInfo = { name, type: { dtype: "float32", shape: value.dims } };
  return asInputs === true ? edit.input(info) : edit.initializer(name, value);
}

/**
 * Checks a layer's tensors against each other and the size of its input.
 *
 * @throws {BadInputError} naming the layer, the expected and the actual sizes
 */
export function checkLinearWeights(
  where: string,
  { weight, bias }: LinearWeights,
  inFeatures: number,
): void {
  const [out] = weight.dims;
  const fits = weight.dtype === "float32" && bias.dtype === "float32" && weight.dims.length === 2 &&
    weight.dims[1] === inFeatures && bias.dims.length === 1 && bias.dims[0] === out;
  if (fits) return;
  throw new BadInputError(
    `Module "${where}" needs weight float32[out,${inFeatures}] and bias float32[out]: ` +
      `current values are ${weight.dtype}[${weight.dims}] and ${bias.dtype}[${bias.dims}]`,
  );
}
