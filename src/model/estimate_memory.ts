/** A first estimate of a training run's memory, from sizes alone. */

/** What the estimate goes by. */
export interface TrainingSizes {
  /** Bytes of the model's files. */
  readonly weightBytes: number;
  /** Parameters that are trained. */
  readonly trainable: number;
  readonly layers: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  /** Width of the widest linear layer inside the layers. */
  readonly widest: number;
  /** Logits per token; 0 where the model has no head. */
  readonly outputs: number;
  /** Sequences per batch. */
  readonly batch: number;
  /** Tokens per sequence. */
  readonly length: number;
}

export interface TrainingEstimate {
  /** Parameters, gradients and AdamW's two moments, float32. */
  readonly adapterBytes: number;
  /** Activations kept from the forward pass and those of the block that is recomputed. */
  readonly activationBytes: number;
  /** All of it, with the mapped weights and the runtime. */
  readonly totalBytes: number;
}

/** Deno and ONNX Runtime with nothing loaded. */
const RUNTIME_BYTES = 150e6;
/** Logits are computed for a quarter of the tokens at most, in vocabulary chunks of this many. */
const HEAD_CHUNK = 8192;

/**
 * Estimates a run that recomputes activations block by block: two values of the residual stream are
 * kept per layer; the block at work holds about a dozen values of that width, four of the widest
 * layer's, forward and backward, and its attention scores.
 */
export function estimateTraining(sizes: TrainingSizes): TrainingEstimate {
  const { trainable, layers, widest, batch, length } = sizes;
  const hidden = Number.isFinite(sizes.hidden) ? sizes.hidden : 0;
  const tokens = batch * length;
  const kept = 2 * layers * tokens * hidden;
  // Heads are rarely narrower than 64, which bounds the scores: heads · batch · length².
  const scores = 3 * Math.ceil(hidden / 64) * batch * length * length;
  const block = tokens * (12 * hidden + 4 * widest) + scores;
  const head = Math.min(sizes.outputs, HEAD_CHUNK) * tokens / 4 * 2;
  const activationBytes = 4 * (kept + Math.max(block, head));
  const adapterBytes = 4 * 4 * trainable;
  return {
    adapterBytes,
    activationBytes,
    totalBytes: RUNTIME_BYTES + sizes.weightBytes + adapterBytes + activationBytes,
  };
}
