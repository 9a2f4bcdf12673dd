/** Names of the tensors that a step passes between its calls, beside those of the lowered graph. */

/** Label of each target row, int64 [rows]. */
export const LABELS = "labels";
/** Weight of each target row, float32 [rows]: 1, or 0 for rows that only pad. */
export const ROW_WEIGHTS = "row_weights";
/** Of packed tokens (`packTokens`). */
export interface PackingNames {
  /** The first position in [batch · length] of each packed row, int64 [rows]. */
  readonly positions: string;
  /** The packed row of each position, int64 [batch · length], or [batch, length] to sum by sequence. */
  readonly rows: string;
}
/** Where each position has a row of its own. */
export const PACKED: PackingNames = { positions: "packed_positions", rows: "packed_rows" };
/** Where sequences share the rows that they begin with. */
export const SHARED: PackingNames = { positions: "shared_positions", rows: "shared_rows" };
/** The packed row of each position that is its row's first, of others that of padding, int64 [batch · length]. */
export const FIRST_ROWS = "first_rows";
/**
 * Of each target row the mean of the head's rows, weighted by a teacher's probabilities of their tokens,
 * float32 [rows, width]: in distillation it stands for the label's own row.
 */
export const EXPECTED_ROWS = "expected_rows";
/** Sum of the weighted token losses, float32 []. */
export const LOSS = "loss";
/** Logits of the target rows, float32 [rows, classes]. */
export const LOGITS = "logits";

/** Cotangent of an activation. */
export const cotangentName = (value: string) => `ct:${value}`;
/** What is kept of an activation in float16. */
export const float16Name = (value: string) => `float16:${value}`;
/** An activation that is computed again for the way back. */
export const againName = (value: string) => `again:${value}`;
/** What is kept of an activation in 8 bits, and the scales of its rows. */
export const codesName = (value: string) => `codes:${value}`;
export const scalesName = (value: string) => `scales:${value}`;
/** What is made of weights alone for a step's call, by the numbers of the call and of the value. */
export const sharedName = (call: number, value: number) => `shared:${call}.${value}`;
/** Gradient of a trainable tensor, summed over the micro-batches so far. */
export const gradientName = (parameter: string) => `grad:${parameter}`;

/** Numeric setting: float32 throughout, or 8-bit integers in products with frozen weights. */
export type Numeric = "exact" | "fast";
