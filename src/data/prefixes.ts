/** What the sequences of a batch begin with in common. */
import { type Tensor, toNumbers } from "../graph/tensor.ts";
import type { TokenBatch } from "./targets.ts";

/** One number a token: equal where the token and its type are. */
export type TokenKeys = Float64Array;

/**
 * The real tokens of each sequence; none of one whose first positions are padding or that has some in
 * between, for what stands at a place there may have another position.
 */
export function tokenKeys(
  { inputIds, attentionMask, tokenTypeIds }: TokenBatch,
): readonly TokenKeys[] {
  const [, length] = inputIds.dims;
  const ids = toNumbers(inputIds);
  const types = tokenTypeIds && toNumbers(tokenTypeIds);
  return leadingTokens(attentionMask).map((tokens = 0, s) => {
    const start = s * length;
    return Float64Array.from(
      { length: tokens },
      (_, t) => Number(ids[start + t]) + TYPE * Number(types?.[start + t] ?? 0),
    );
  });
}

/** How many real tokens each sequence has, where they are the first of its positions; else `undefined`. */
export function leadingTokens(attentionMask: Tensor): readonly (number | undefined)[] {
  const [sequences, length] = attentionMask.dims;
  const mask = toNumbers(attentionMask);
  return Array.from({ length: sequences }, (_, s) => {
    const start = s * length;
    let tokens = 0;
    while (tokens < length && Number(mask[start + tokens]) !== 0) tokens++;
    for (let t = tokens; t < length; t++) if (Number(mask[start + t]) !== 0) return undefined;
    return tokens;
  });
}

/** More than any token's id. */
const TYPE = 2 ** 32;

/** How many tokens two sequences begin with in common. */
export function commonLength(a: TokenKeys, b: TokenKeys): number {
  const most = Math.min(a.length, b.length);
  let common = 0;
  while (common < most && a[common] === b[common]) common++;
  return common;
}

/** How many tokens all sequences begin with; 0 of one alone. */
export function commonToAll([first, ...others]: readonly TokenKeys[]): number {
  if (others.length === 0) return 0;
  return Math.min(...others.map((keys) => commonLength(first, keys)));
}
