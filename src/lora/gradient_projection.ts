/**
 * The factor by which LoRA-FA corrects the gradient of B (Zhang et al., "LoRA-FA: Memory-efficient Low-rank
 * Adaptation for Large Language Models Fine-tuning", 2023): with A frozen, the step of the product
 * scale·B·A that is nearest to the weight's own gradient takes B along G_B·(A·Aᵀ)⁻¹ / scale².
 */
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import { gramOf } from "../linalg/gram.ts";
import { matrixOf } from "../linalg/matrix.ts";
import { symmetricEigen } from "../linalg/symmetric_eigen.ts";

/** Added to the diagonal, as in PEFT's `LoraFAOptimizer`. */
const DAMPING = 1e-8;

/**
 * (A·Aᵀ)⁺ / scale², [rank, rank]. Directions that A has not, up to float32's precision, stay without a step.
 *
 * @param a [rank, in]
 */
export function gradientProjection(a: Tensor, scale: number): Tensor {
  const [rank, inFeatures] = a.dims;
  const gram = gramOf(matrixOf(rank, inFeatures, toNumbers(a)));
  for (let r = 0; r < rank; r++) gram[r * rank + r] += DAMPING;
  const { values, vectors } = symmetricEigen(gram, rank, rank);
  const least = rank * 2 ** -23 * Math.max(...values);
  const out = new Float32Array(rank * rank);
  for (let i = 0; i < rank; i++) {
    for (let j = 0; j < rank; j++) {
      let sum = 0;
      for (let k = 0; k < rank; k++) {
        if (!(values[k] > least)) continue;
        sum += vectors.values[i * rank + k] * vectors.values[j * rank + k] / values[k];
      }
      out[i * rank + j] = sum / scale ** 2;
    }
  }
  return float32([rank, rank], out);
}
