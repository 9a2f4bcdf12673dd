/** Deterministic numbers and matrices for the rounding tests. */
import { float32, tensor } from "../../src/graph/tensor.ts";
import { NBitsMatrix } from "../../src/quant/nbits_matrix.ts";

/** Standard normal numbers from a seed (mulberry32 and Box–Muller). */
export function gaussians(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** A random MatMulNBits weight without zero points. */
export function randomNBits(
  seed: number,
  rows: number,
  cols: number,
  blockSize = 16,
  bits: 4 | 8 = 4,
) {
  const random = gaussians(seed);
  const blocks = Math.ceil(cols / blockSize);
  const half = 2 ** (bits - 1);
  const bytes = new Uint8Array(rows * blocks * blockSize * bits / 8);
  const code = () => Math.max(0, Math.min(2 * half - 1, Math.round(half + random() * half / 2.7)));
  for (let i = 0; i < bytes.length; i++) bytes[i] = bits === 8 ? code() : code() | (code() << 4);
  const scales = Array.from({ length: rows * blocks }, () => 0.02 * (1 + Math.abs(random())));
  return new NBitsMatrix({ bits, blockSize, rows, cols }, {
    codes: tensor("uint8", [rows, blocks, blockSize * bits / 8], bytes),
    scales: float32([rows, blocks], scales),
  });
}

/** Sum of x·xᵀ over `count` inputs whose features are correlated through `hidden` causes. */
export function correlatedGram(seed: number, cols: number, count: number, hidden: number) {
  const random = gaussians(seed);
  const mix = Float64Array.from({ length: hidden * cols }, random);
  const values = new Float32Array(cols * cols);
  for (let t = 0; t < count; t++) {
    const x = Float64Array.from({ length: cols }, () => 0.2 * random());
    for (let h = 0; h < hidden; h++) {
      const z = random() / (1 + h);
      for (let k = 0; k < cols; k++) x[k] += z * mix[h * cols + k];
    }
    for (let i = 0; i < cols; i++) {
      for (let j = 0; j < cols; j++) values[i * cols + j] += x[i] * x[j];
    }
  }
  return { cols, count, values };
}

/** Euclidean norm of a difference (or of `a`). */
export function norm(a: ArrayLike<number>, b?: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - (b?.[i] ?? 0)) ** 2;
  return Math.sqrt(sum);
}
