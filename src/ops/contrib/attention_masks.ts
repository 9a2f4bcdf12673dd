/** Additive masks over attention scores, in the order in which `attend` stores scores. */
import { ints } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { sizedTensor } from "../../graph/extents.ts";
import { isAtMost, minus, plus } from "../../graph/extent_arithmetic.ts";
import type { Extent } from "../../graph/size.ts";
import type { Block, Causal } from "./attention_blocks.ts";
import { castTo } from "../cast.ts";
import { shared } from "./support.ts";

/**
 * The number added to masked scores. After the softmax's exponential such a score is exactly 0, however far
 * apart the scores are. A smaller magnitude would be wrong if a masked score leads by as much. That the
 * exponential of this number is slow is remedied where it is computed (`plan/computing.ts`).
 */
export const MASKED = -1e9;

/**
 * The causal mask of a block, one constant for all layers.
 *
 * @returns [queries, 1, keys], 0 where visible; `undefined` if everything is
 */
function causalBlock(b: GraphBuilder, { window }: Causal, block: Block): string | undefined {
  const { from, to, first, last } = block;
  const seesLast = isAtMost(last, plus(from, 1));
  const seesFirst = window === undefined || isAtMost(to, plus(first, window));
  if (seesLast && seesFirst) return undefined;
  const mask = sizedTensor(
    `causal mask of window ${window}`,
    "float32",
    [minus(to, from), 1, minus(last, first)],
    [from, to, first, last],
    (from, to, first, last) => {
      const width = last - first;
      const scores = new Float32Array((to - from) * width);
      const hides = (i: number, j: number) => j > i || (window !== undefined && j <= i - window);
      for (let i = from; i < to; i++) {
        for (let j = first; j < last; j++) {
          if (hides(i, j)) scores[(i - from) * width + j - first] = MASKED;
        }
      }
      return new Uint8Array(scores.buffer);
    },
  );
  return b.constant(mask, `causal.${from}.${to}.${first}.${last}`);
}

/**
 * A bias over heads in the order of {@linkcode attend}'s scores.
 *
 * @param bias [B or 1, H or 1, T, L]
 * @returns [B or 1, keyHeads or 1, T, G or 1, L]
 */
export function biasMask(b: GraphBuilder, bias: string, keyHeads: number): string {
  const [batch, , tokens, keys] = b.shape(bias);
  const heads = b.dims(bias)[1];
  if (heads === 1) return b.reshape(bias, [batch, 1, tokens, 1, keys]);
  return shared(b, `bias ${bias} ${keyHeads}`, () => {
    const grouped = b.reshape(bias, [batch, keyHeads, heads / keyHeads, tokens, keys]);
    return b.op("Transpose", [grouped], { perm: ints([0, 1, 3, 2, 4]) });
  });
}

/**
 * The sum of all masks over a block, made once for all layers that have the same masks.
 *
 * @param masks each broadcastable to [B, keyHeads, T, G, L]
 * @param whole the shape of all scores, [B, keyHeads, T, G, L]
 * @returns broadcastable to [B, keyHeads, block's queries, G, block's keys]; `undefined` for none
 */
export function blockMask(
  b: GraphBuilder,
  masks: readonly string[],
  causal: Causal | undefined,
  block: Block,
  whole: readonly Extent[],
): string | undefined {
  const { from, to, first, last } = block;
  const key = JSON.stringify([masks, causal, block, whole]);
  const none = "";
  const sum = shared(b, `mask ${key}`, () => {
    const parts = masks.map((mask) =>
      cut(b, cut(b, castTo(b, mask, "float32"), -3, from, to, whole[2]), -1, first, last, whole[4])
    );
    const seen = causal === undefined ? undefined : causalBlock(b, causal, block);
    if (seen !== undefined) parts.push(seen);
    return parts.length === 0 ? none : parts.reduce((x, y) => b.op("Add", [x, y]));
  });
  return sum === none ? undefined : sum;
}

/** Elements `from` to `to` along an axis counted from the end, unless it is broadcast or whole. */
export function cut(
  b: GraphBuilder,
  x: string,
  axis: number,
  from: Extent,
  to: Extent,
  size: Extent,
): string {
  const shape = b.shape(x);
  const at = shape.length + axis;
  if (at < 0 || shape[at] === 1 || (from === 0 && to === size)) return x;
  return b.op("Slice", [x, b.int64s([from]), b.int64s([to]), b.int64s([at])]);
}
