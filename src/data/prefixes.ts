/** What the sequences of a batch begin with in common. */
import { toNumbers } from "../graph/tensor.ts";
import type { TokenBatch } from "./targets.ts";

/** One number a token: equal where the token and its type are. */
export type TokenKeys = Float64Array;

/**
 * The real tokens of each sequence; none of one whose first places are padding or that has some in
 * between, for what stands at a place there may have another position.
 */
export function tokenKeys(
  { inputIds, attentionMask, tokenTypeIds }: TokenBatch,
): readonly TokenKeys[] {
  const [sequences, length] = inputIds.dims;
  const [ids, mask] = [toNumbers(inputIds), toNumbers(attentionMask)];
  const types = tokenTypeIds && toNumbers(tokenTypeIds);
  return Array.from({ length: sequences }, (_, s) => {
    const start = s * length;
    let tokens = 0;
    while (tokens < length && Number(mask[start + tokens]) !== 0) tokens++;
    for (let t = tokens; t < length; t++) if (Number(mask[start + t]) !== 0) tokens = 0;
    return Float64Array.from(
      { length: tokens },
      (_, t) => Number(ids[start + t]) + TYPE * Number(types?.[start + t] ?? 0),
    );
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

/** How many tokens all sequences of a batch begin with; 0 of one alone. */
export function commonTokens(batch: TokenBatch): number {
  const [first, ...others] = tokenKeys(batch);
  if (others.length === 0) return 0;
  return Math.min(...others.map((keys) => commonLength(first, keys)));
}
