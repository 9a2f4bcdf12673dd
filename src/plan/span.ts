/**
 * A span of a sequence: consecutive tokens that one thread computes while other threads compute others.
 *
 * A token sees earlier tokens only through causal attention. A span reads the keys and values of all tokens
 * before it, which the previous span passes on, and sends back their cotangents; it leaves these keys and
 * values, followed by its own, for the next span. Everything else treats tokens one by one.
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
/** Replaces a prefix, and keeps the suffix of a copied block's names (`alike_blocks.ts`). */
const replaced = (name: string, from: string, to: string) => to + name.slice(from.length);

/** Keys or values, float32 [tokens · heads, size], of all tokens before the span. */
export const earlierName = (role: "keys" | "values", attention: number) =>
  `${EARLIER}${role}.${attention}`;
/** The same, followed by those of the span. */
export const laterName = (role: "keys" | "values", attention: number) =>
  `${LATER}${role}.${attention}`;

export const isEarlier = (name: string) => name.startsWith(EARLIER);
export const isLater = (name: string) => name.startsWith(LATER);
/** The previous span's name for what this one reads. */
export const laterOf = (earlier: string) => replaced(earlier, EARLIER, LATER);
/** The next span's name for what this one leaves. */
export const earlierOf = (later: string) => replaced(later, LATER, EARLIER);

/**
 * Checks the last segment: what follows its input is computed with the loss, in calls that leave nothing
 * else.
 *
 * @param nodes of the last segment
 * @throws {IndivisibleError} where there is attention among them
 */
export function checkDivisible(nodes: readonly Node[]): void {
  const found = nodes.find(({ inputs, outputs }) =>
    inputs.some(isEarlier) || outputs.some(isLater)
  );
  if (found !== undefined) {
    throw new IndivisibleError(`Attention "${found.name}" is computed with the loss`);
  }
}

/** A model's sequences cannot be divided: tokens see each other outside attention. */
export class IndivisibleError extends UnsupportedError {
  override readonly name = "IndivisibleError";
}
