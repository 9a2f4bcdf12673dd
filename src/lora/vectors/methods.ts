/** How vectors of a graph are trained. */

/** Methods that train vectors alone. */
export const VECTOR_METHODS = ["ln_tuning", "bitfit"] as const;
/** One of {@linkcode VECTOR_METHODS}. */
export type VectorMethod = (typeof VECTOR_METHODS)[number];

/** Which biases are trained beside LoRA, as PEFT says it. */
export const BIASES = ["none", "all", "lora_only"] as const;
/** One of {@linkcode BIASES}. */
export type TrainedBiases = (typeof BIASES)[number];
