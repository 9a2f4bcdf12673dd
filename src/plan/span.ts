/**
 * A span of a sequence: some consecutive tokens of it, that a thread computes beside those of others.
 *
 * Causal attention is all that a token sees of those before it. A span reads the keys and values of the
 * tokens before it, which the span before has computed, and sends back their cotangents; it leaves its
 * own, behind those, for the span after it. Everything else treats tokens one by one.
 */
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { UnsupportedError } from "../ops/types.ts";

export interface Span<Count extends Extent = number> {
  /** First token of the span; its last is the last of the planned sequence. */
  readonly from: Count;
  /** Whether another span follows. */
  readonly continues: boolean;
}

const EARLIER = "earlier:";
const LATER = "later:";
/** What a copied block's names end in (`alike_blocks.ts`) stays. */
const replaced = (name: string, from: string, to: string) => to + name.slice(from.length);

/** Keys or values, float32 [tokens · heads, size], of all tokens before the span. */
export const earlierName = (role: "keys" | "values", attention: number) =>
  `${EARLIER}${role}.${attention}`;
/** The same with those of the span behind them. */
export const laterName = (role: "keys" | "values", attention: number) =>
  `${LATER}${role}.${attention}`;

export const isEarlier = (name: string) => name.startsWith(EARLIER);
export const isLater = (name: string) => name.startsWith(LATER);
/** What the span before calls what this one reads. */
export const laterOf = (earlier: string) => replaced(earlier, EARLIER, LATER);
/** What the span after calls what this one leaves. */
export const earlierOf = (later: string) => replaced(later, LATER, EARLIER);

/**
 * What follows the last segment's input is computed with the loss, in calls that leave nothing else.
 *
 * @param nodes of the last segment
 * @throws {IndivisibleError} where they have attention among them
 */
export function checkDivisible(nodes: readonly Node[]): void {
  const found = nodes.find(({ inputs, outputs }) =>
    inputs.some(isEarlier) || outputs.some(isLater)
  );
  if (found !== undefined) {
    throw new IndivisibleError(`Attention "${found.name}" is computed with the loss`);
  }
}

/** A model's sequences cannot be divided: tokens see each other elsewhere than in attention. */
export class IndivisibleError extends UnsupportedError {
  override readonly name = "IndivisibleError";
}
