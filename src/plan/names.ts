/** Names of the tensors that a step passes between its calls, in addition to those of the lowered graph. */

/** Label of each target row, int64 [rows]. */
export const LABELS = "labels";
/** Weight of each target row, float32 [rows]: 1, or 0 for padding rows. */
export const ROW_WEIGHTS = "row_weights";
/** Names for packed tokens (`packTokens`). */
export interface PackingNames {
  /** The first position in [batch · length] of each packed row, int64 [rows]. */
  readonly positions: string;
  /** The packed row of each position, int64 [batch · length], or [batch, length] to sum by sequence. */
  readonly rows: string;
}
/** Where each position has its own row. */
export const PACKED: PackingNames = { positions: "packed_positions", rows: "packed_rows" };
/** Where sequences share the rows of a common beginning. */
export const SHARED: PackingNames = { positions: "shared_positions", rows: "shared_rows" };
/**
 * The packed row of each position that is the first of its row; for other positions, that of padding; int64
 * [batch · length].
 */
export const FIRST_ROWS = "first_rows";
/**
 * For each target row, the mean of the head's rows weighted by a teacher's probabilities of their tokens,
 * float32 [rows, width]: in distillation it replaces the label's own row.
 */
export const EXPECTED_ROWS = "expected_rows";
/** Sum of the weighted token losses, float32 []. */
export const LOSS = "loss";
/** Logits of the target rows, float32 [rows, classes]. */
export const LOGITS = "logits";

/** Cotangent of an activation. */
export const cotangentName = (value: string) => `ct:${value}`;
/** Float16 form of a kept activation. */
export const float16Name = (value: string) => `float16:${value}`;
/** Name of an activation that is recomputed for the backward pass. */
export const againName = (value: string) => `again:${value}`;
/** Codes of an activation kept in 8 bits, and the scales of its rows. */
export const codesName = (value: string) => `codes:${value}`;
export const scalesName = (value: string) => `scales:${value}`;
/** A tensor that a step's call computes from weights alone, by the numbers of the call and of the value. */
export const sharedName = (call: number, value: number) => `shared:${call}.${value}`;
/** Gradient of a trainable tensor, summed over the micro-batches so far. */
export const gradientName = (parameter: string) => `grad:${parameter}`;

/** Numeric setting: float32 throughout, or 8-bit integers in products with frozen weights. */
export type Numeric = "exact" | "fast";
