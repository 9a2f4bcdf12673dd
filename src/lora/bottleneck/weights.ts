/** The tensors of bottleneck adapters: names, shapes, initial values. */
import { BadInputError } from "../../errors.ts";
import { float32, type Tensor } from "../../graph/tensor.ts";
import { initLinear, type RandomSource } from "../init.ts";
import {
  BOTTLENECK_PARTS,
  type BottleneckConfig,
  type BottleneckPart,
  bottleneckWidth,
} from "./config.ts";
import type { LinearModule } from "../modules.ts";

/**
 * An adapter behind a layer of `features` outputs, float32: D [width, features], d [width],
 * U [features, width], u [features].
 */
export type BottleneckWeights = Readonly<Record<BottleneckPart, Tensor>>;

/**
 * Adapters before the first step: D as PyTorch initialises linear layers, the rest zero, so that training
 * starts at the base, as with `init_weights="mam_adapter"` of the library `adapters`.
 */
export function initBottlenecks(
  modules: readonly LinearModule[],
  config: BottleneckConfig,
  random: RandomSource,
): ReadonlyMap<string, BottleneckWeights> {
  return new Map(modules.map(({ path, outFeatures }) => {
    const width = bottleneckWidth(outFeatures, config);
    const zeros = (...dims: number[]) =>
      float32(dims, new Float32Array(dims.reduce((count, dim) => count * dim, 1)));
    return [path, {
      "adapter_down.weight": initLinear(width, outFeatures, random).weight,
      "adapter_down.bias": zeros(width),
      "adapter_up.weight": zeros(outFeatures, width),
      "adapter_up.bias": zeros(outFeatures),
    }];
  }));
}

/**
 * All parts of the adapter behind a layer.
 *
 * @param features outputs of the layer, if it is known
 * @throws {BadInputError} if a part is missing or they do not fit each other or the layer
 */
export function checkedBottleneck(
  path: string,
  parts: Readonly<Partial<Record<BottleneckPart, Tensor>>>,
  features = parts["adapter_up.bias"]?.dims[0] ?? 0,
): BottleneckWeights {
  const width = parts["adapter_down.bias"]?.dims[0] ?? 0;
  const shapes: Readonly<Record<BottleneckPart, readonly number[]>> = {
    "adapter_down.weight": [width, features],
    "adapter_down.bias": [width],
    "adapter_up.weight": [features, width],
    "adapter_up.bias": [features],
  };
  for (const part of BOTTLENECK_PARTS) {
    const found = parts[part];
    if (found === undefined) {
      throw new BadInputError(`The adapter behind "${path}" has no ${part}`);
    }
    const fits = found.dtype === "float32" && `${found.dims}` === `${shapes[part]}` && width > 0;
    if (fits) continue;
    throw new BadInputError(
      `The adapter behind "${path}": ${part} must be float32[${shapes[part]}]: current value is ` +
        `${found.dtype}[${found.dims}]`,
    );
  }
  return parts as BottleneckWeights;
}
