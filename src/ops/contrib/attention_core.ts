/**
 * Attention over heads in primitive operators; every fused attention operator lowers to this.
 *
 * Query heads that share a key head stand in one matrix, [tokens · group, size], so keys and values
 * are never repeated for grouped queries.
 */
import { int, ints } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { float32 } from "../../graph/tensor.ts";
import { cast, scalarOf, shared } from "./support.ts";

/**
 * What masked scores get added. After the softmax's exponential such a score is exactly 0, however
 * far scores lie apart. (-60 is 2.8 ms faster at [4,3,768,256], since a faster branch of ONNX
 * Runtime's exponential serves it, but is wrong where a masked score leads by more than about 40;
 * between -87 and -104 denormals make the kernel 20 times slower; -1e4, -1e9 and -inf cost alike.)
 */
export const MASKED = -1e9;

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
  /** Squashes scores to (-softcap, softcap) before the masks; 0 for none. */
  readonly softcap?: number;
  /** Added to the scores, each broadcastable to [B, keyHeads, T, G, L]. */
  readonly masks: readonly string[];
  /** One more score per head, [H], that takes probability and gives no value. */
  readonly sink?: string;
}

/**
 * Softmax(query · keyᵀ · scale + masks) · value.
 *
 * @returns [B, T, H · valueSize]
 */
export function attend(b: GraphBuilder, inputs: AttentionInputs): string {
  const [batch, tokens, heads, size] = b.dims(inputs.query);
  const [, keys, keyHeads, valueSize] = b.dims(inputs.value);
  const group = heads / keyHeads;
  const rows = [batch, keyHeads, tokens * group];
  const grid = [batch, keyHeads, tokens, group];

  const grouped = b.reshape(inputs.query, [batch, tokens, keyHeads, group, size]);
  const query = b.reshape(b.op("Transpose", [grouped], { perm: ints([0, 2, 1, 3, 4]) }), [
    ...rows,
    size,
  ]);
  const key = b.op("Transpose", [inputs.key], { perm: ints([0, 2, 3, 1]) });
  const value = b.op("Transpose", [inputs.value], { perm: ints([0, 2, 1, 3]) });

  const { dtype } = b.known(query);
  const scaled = b.op("Mul", [query, scalarOf(b, dtype, inputs.scale)]);
  let scores = b.op("MatMul", [scaled, key]);
  if (inputs.softcap) scores = squash(b, scores, inputs.softcap);
  scores = b.reshape(scores, [...grid, keys]);
  for (const mask of inputs.masks) scores = b.op("Add", [scores, cast(b, mask, dtype)]);

  const weights = inputs.sink === undefined
    ? b.op("Softmax", [scores], { axis: int(-1) })
    : softmaxWithSink(b, scores, inputs.sink);
  const mixed = b.op("MatMul", [b.reshape(weights, [...rows, keys]), value]);
  const outward = b.op("Transpose", [b.reshape(mixed, [...grid, valueSize])], {
    perm: ints([0, 2, 1, 3, 4]),
  });
  return b.reshape(outward, [batch, tokens, heads * valueSize]);
}

function squash(b: GraphBuilder, scores: string, softcap: number): string {
  const { dtype } = b.known(scores);
  const bounded = b.op("Tanh", [b.op("Div", [scores, scalarOf(b, dtype, softcap)])]);
  return b.op("Mul", [bounded, scalarOf(b, dtype, softcap)]);
}

/** Softmax over the scores and one more per head, whose probability is dropped. */
function softmaxWithSink(b: GraphBuilder, scores: string, sink: string): string {
  const dims = b.dims(scores);
  const [, keyHeads, , group, keys] = dims;
  const column = b.op("Expand", [
    b.reshape(sink, [1, keyHeads, 1, group, 1]),
    b.int64s([...dims.slice(0, -1), 1]),
  ]);
  const joined = b.op("Concat", [scores, column], { axis: int(-1) });
  const weights = b.op("Softmax", [joined], { axis: int(-1) });
  return b.op("Slice", [weights, b.int64s([0]), b.int64s([keys]), b.int64s([4])]);
}

/**
 * The causal mask: query i sees the keys up to i and, with a window, only the last `window` of
 * them. One constant for all layers.
 *
 * @param window how many keys a query sees, its own included; `undefined` for all
 * @returns [T, 1, L], 0 where visible
 */
export function causalMask(
  b: GraphBuilder,
  tokens: number,
  keys: number,
  window?: number,
): string {
  return shared(b, `causal ${tokens} ${keys} ${window}`, () => {
    const mask = new Float32Array(tokens * keys);
    for (let i = 0; i < tokens; i++) {
      for (let j = 0; j < keys; j++) {
        if (j > i || (window !== undefined && j <= i - window)) mask[i * keys + j] = MASKED;
      }
    }
    return b.constant(float32([tokens, 1, keys], mask), `causal.${tokens}x${keys}`);
  });
}

/**
 * A bias over heads in the order of {@linkcode attend}'s scores.
 *
 * @param bias [B or 1, H or 1, T, L]
 * @returns [B or 1, keyHeads or 1, T, G or 1, L]
 */
export function biasMask(b: GraphBuilder, bias: string, keyHeads: number): string {
  const [batch, heads, tokens, keys] = b.dims(bias);
  if (heads === 1) return b.reshape(bias, [batch, 1, tokens, 1, keys]);
  return shared(b, `bias ${bias} ${keyHeads}`, () => {
    const grouped = b.reshape(bias, [batch, keyHeads, heads / keyHeads, tokens, keys]);
    return b.op("Transpose", [grouped], { perm: ints([0, 1, 3, 2, 4]) });
  });
}
