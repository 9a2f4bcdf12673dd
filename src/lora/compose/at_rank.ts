/** Smaller ranks of an adapter whose directions are sorted. */
import { float32, toNumbers } from "../../graph/tensor.ts";
import type { LoraWeights } from "../lora_weights.ts";
import type { CombinedAdapter } from "./combine_adapters.ts";

/**
 * The nearest adapter of a smaller rank to one that a combination ending in `svd` made: its first
 * directions are those of the largest singular values.
 *
 * @param rank at most the adapter's
 */
export function atRank(
  adapter: CombinedAdapter["adapter"],
  rank: number,
): CombinedAdapter["adapter"] {
  return {
    ...adapter,
    lora: new Map([...adapter.lora].map(([path, weights]) => [path, firstOf(weights, rank)])),
    config: { ...adapter.config, rank, alpha: rank },
  };
}

/** The first rows of A and columns of B. */
function firstOf({ a, b }: LoraWeights, rank: number): LoraWeights {
  const [own, inputs] = a.dims;
  const [outputs] = b.dims;
  const [valuesA, valuesB] = [toNumbers(a), toNumbers(b)].map((values) =>
    Float32Array.from(values)
  );
  const fewer = new Float32Array(outputs * rank);
  for (let n = 0; n < outputs; n++) {
    fewer.set(valuesB.subarray(n * own, n * own + rank), n * rank);
  }
  return {
    a: float32([rank, inputs], valuesA.subarray(0, rank * inputs)),
    b: float32([outputs, rank], fewer),
  };
}
