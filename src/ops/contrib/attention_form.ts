/** Inputs of attention, and how a graph's attention is lowered. */
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Extent } from "../../graph/size.ts";
import type { Causal } from "./attention_blocks.ts";

/** Inputs of {@linkcode attend}; T queries, L keys, H query heads, G = H / keyHeads. */
export interface AttentionInputs {
  /** [B, T, H, size] */
  readonly query: string;
  /** [B, L, keyHeads, size] */
  readonly key: string;
  /** [B, L, keyHeads, valueSize] */
  readonly value: string;
  /** Multiplies the scores. */
  readonly scale: number;
  /** Limits scores to (-softcap, softcap) before the masks; 0 for none. */
  readonly softcap?: number;
  /** Added to the scores, each broadcastable to [B, keyHeads, T, G, L]. */
  readonly masks: readonly string[];
  /** Hides keys behind their query; absent if every query sees all keys. */
  readonly causal?: Causal;
  /** One more score per head, [H], that takes probability and gives no value. */
  readonly sink?: string;
}

/** How a graph's attention is lowered. */
export interface AttentionForm {
  /**
   * Number of tokens that all sequences begin with and for which causal attention gives the same in each: it
   * attends to them once. Default: none.
   */
  readonly common?: Extent;
  /** Emits something else in the place of attention. */
  readonly emit?: (b: GraphBuilder, inputs: AttentionInputs) => string;
}
