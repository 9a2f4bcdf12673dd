/** The common beginnings of a batch's sequences. */
import { type Tensor, toNumbers } from "../graph/tensor.ts";
import type { TokenBatch } from "./targets.ts";

/** One number per token: equal for equal tokens of equal type. */
export type TokenKeys = Float64Array;

/**
 * The real tokens of each sequence; none for one with padding before or between its tokens, because the
 * same index may have another position there.
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

/** The number of real tokens of each sequence, if they come first; otherwise `undefined`. */
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

/** Number of common first tokens of two sequences. */
export function commonLength(a: TokenKeys, b: TokenKeys): number {
  const most = Math.min(a.length, b.length);
  let common = 0;
  while (common < most && a[common] === b[common]) common++;
  return common;
}

/** Number of common first tokens of all sequences; 0 for a single one. */
export function commonToAll([first, ...others]: readonly TokenKeys[]): number {
  if (others.length === 0) return 0;
  return Math.min(...others.map((keys) => commonLength(first, keys)));
}
