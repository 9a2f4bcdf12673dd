/** An int32 bias whose scale is the product of the activations' and weights' scales. */
import { elementCount, type Tensor, tensor, toNumbers } from "../../graph/tensor.ts";
import { floatTensor } from "../../quant/numbers.ts";

/** An initializer and its name. */
type Named = readonly [name: string, value: Tensor];

const INT32 = { min: -(2 ** 31), max: 2 ** 31 - 1 };

export class ScaledBias {
  /** Current codes and scales. */
  readonly tensors: readonly [codes: Named, scales: Named];
  readonly #inputScale: number;

  private constructor(codes: Named, scales: Named, inputScale: number) {
    this.tensors = [codes, scales];
    this.#inputScale = inputScale;
  }

  /** `undefined` if the numbers of its scales and of the weight's differ. */
  static of(
    codes: Named,
    scales: Named,
    weightScales: Tensor,
    inputScale: Tensor,
  ): ScaledBias | undefined {
    if (elementCount(scales[1].dims) !== elementCount(weightScales.dims)) return undefined;
    return new ScaledBias(codes, scales, toNumbers(inputScale)[0]);
  }

  /** The same bias, rounded to integers, for a weight with other scales. */
  beside(weightScales: Tensor): readonly [codes: Named, scales: Named] {
    const [[codesName, codes], [scalesName, scales]] = this.tensors;
    const [before, weights] = [toNumbers(scales), toNumbers(weightScales)];
    const after = Float32Array.from(weights, (scale) => Math.fround(this.#inputScale * scale));
    const at = (values: ArrayLike<number>, i: number) => values[values.length === 1 ? 0 : i];
    const rounded = Int32Array.from(toNumbers(codes), (code, i) => {
      const steps = Math.round(code * at(before, i) / at(after, i));
      return Math.min(Math.max(steps, INT32.min), INT32.max);
    });
    return [
      [codesName, tensor("int32", codes.dims, new Uint8Array(rounded.buffer))],
      [scalesName, floatTensor(scales.dtype, scales.dims, after)],
    ];
  }
}
