/**
 * Attention over heads in primitive operators; every fused attention operator lowers to this.
 *
 * Query heads that share a key head are stored in one matrix, [tokens · group, size], so keys and values are
 * never repeated for grouped queries. Causal attention is computed one block of queries after another, each
 * against the keys that it can see: fewer products, fewer masked scores, and a fraction of the scores in
 * memory at a time. Tokens that all sequences begin with are attended to once.
 */
import type { AttentionForm, AttentionInputs } from "./attention_form.ts";
import { int, ints } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { areEqual, isAtMost, minus, plus, settled, times } from "../../graph/extent_arithmetic.ts";
import type { Extent } from "../../graph/size.ts";
import { blocksOf } from "./attention_blocks.ts";
import { blockMask, cut } from "./attention_masks.ts";
import type { Causal } from "./attention_blocks.ts";
import { castTo } from "../cast.ts";
import { scalarOf } from "../broadcast.ts";

export { biasMask, MASKED } from "./attention_masks.ts";

/**
 * Softmax(query · keyᵀ · scale + masks) · value.
 *
 * @returns [B, T, H · valueSize]
 */
export function attend(
  b: GraphBuilder,
  inputs: AttentionInputs,
  form: AttentionForm | undefined,
): string {
  const { emit, common = 0 } = form ?? {};
  return emit === undefined ? attendByPositions(b, inputs, common) : emit(b, inputs);
}

/** Number of tokens of the common prefix that {@linkcode attend} attends to once. */
export function sharedTokens(
  causal: Causal | undefined,
  batch: Extent,
  tokens: Extent,
  keys: Extent,
  common: Extent,
): Extent {
  if (causal === undefined || common === 0 || isAtMost(batch, 1)) return 0;
  return areEqual(tokens, keys) && isAtMost(plus(common, 1), tokens) ? common : 0;
}

/** {@linkcode attend} over values that hold every position of a batch. */
export function attendByPositions(
  b: GraphBuilder,
  inputs: AttentionInputs,
  commonTokens: Extent,
): string {
  const [batch, tokens] = b.shape(inputs.query);
  const [, keys] = b.shape(inputs.value);
  const common = sharedTokens(inputs.causal, batch, tokens, keys, commonTokens);
  if (common === 0) return attendFrom(b, inputs, 0);
  const first = attendFrom(b, firstSequence(b, inputs, common), 0);
  const [, , width] = b.shape(first);
  const begins = b.op("Expand", [first, b.int64s([batch, common, width])]);
  const query = partOf(b, inputs.query, [0, batch], [common, tokens]);
  const rest = attendFrom(b, { ...inputs, query }, common);
  return b.op("Concat", [begins, rest], { axis: int(1) });
}

/** The first tokens of one sequence, which see nothing after them. */
function firstSequence(b: GraphBuilder, inputs: AttentionInputs, tokens: Extent): AttentionInputs {
  const [batch, length] = b.shape(inputs.key);
  const begin = (x: string) => partOf(b, x, [0, 1], [0, tokens]);
  const ofFirst = (mask: string) => {
    const ofSequence = cut(b, mask, -5, 0, 1, batch);
    return cut(b, cut(b, ofSequence, -3, 0, tokens, length), -1, 0, tokens, length);
  };
  return {
    ...inputs,
    query: begin(inputs.query),
    key: begin(inputs.key),
    value: begin(inputs.value),
    masks: inputs.masks.map(ofFirst),
  };
}

/** Tokens of some sequences in [B, T, ...]; each range excludes its end. */
function partOf(
  b: GraphBuilder,
  x: string,
  [first, last]: readonly [Extent, Extent],
  [from, to]: readonly [Extent, Extent],
): string {
  return b.op("Slice", [x, b.int64s([first, from]), b.int64s([last, to]), b.int64s([0, 1])]);
}

/** {@linkcode attend} if `inputs.query` has the tokens from `offset` on of all those that have keys. */
function attendFrom(b: GraphBuilder, inputs: AttentionInputs, offset: Extent): string {
  const [batch, tokens, heads, size] = b.shape(inputs.query);
  const [, keys, keyHeads, valueSize] = b.shape(inputs.value);
  const group = settled(heads) / settled(keyHeads);
  const { dtype } = b.known(inputs.query);

  const grouped = b.reshape(inputs.query, [batch, tokens, keyHeads, group, size]);
  const byHead = b.op("Transpose", [grouped], { perm: ints([0, 2, 1, 3, 4]) });
  const query = b.reshape(byHead, [batch, keyHeads, times(tokens, group), size]);
  const scaled = b.op("Mul", [query, scalarOf(b, dtype, inputs.scale)]);
  const key = b.op("Transpose", [inputs.key], { perm: ints([0, 2, 1, 3]) });
  const value = b.op("Transpose", [inputs.value], { perm: ints([0, 2, 1, 3]) });

  const blocks = blocksOf(tokens, offset, keys, inputs.causal);
  const rows = b.int64s(blocks.map(({ from, to }) => times(minus(to, from), group)));
  const queries = blocks.length === 1
    ? [scaled]
    : b.ops("Split", [scaled, rows], blocks.length, { axis: int(2) });
  const mixed = blocks.map((block, i) => {
    const mask = blockMask(b, inputs.masks, inputs.causal, block, [
      batch,
      keyHeads,
      plus(offset, tokens),
      group,
      keys,
    ]);
    return attendBlock(b, inputs, {
      query: queries[i],
      key: cut(b, key, -2, block.first, block.last, keys),
      value: cut(b, value, -2, block.first, block.last, keys),
      mask,
      grid: [batch, keyHeads, minus(block.to, block.from), group, minus(block.last, block.first)],
    });
  });
  const joined = mixed.length === 1 ? mixed[0] : b.op("Concat", mixed, { axis: int(2) });
  const outward = b.op("Transpose", [
    b.reshape(joined, [batch, keyHeads, tokens, group, valueSize]),
  ], { perm: ints([0, 2, 1, 3, 4]) });
  return b.reshape(outward, [batch, tokens, times(heads, valueSize)]);
}

/** What a block of queries attends to, head by head. */
export interface AttendedBlock {
  /** Scaled, [B, keyHeads, queries · G, size] */
  readonly query: string;
  /** [B, keyHeads, keys, size] */
  readonly key: string;
  /** [B, keyHeads, keys, valueSize] */
  readonly value: string;
  /** The result of {@linkcode blockMask}. */
  readonly mask: string | undefined;
  /** The scores' shape, [B, keyHeads, queries, G, keys]. */
  readonly grid: readonly Extent[];
}

/** @returns [B, keyHeads, queries · G, valueSize] */
export function attendBlock(
  b: GraphBuilder,
  inputs: Pick<AttentionInputs, "softcap" | "sink">,
  block: AttendedBlock,
): string {
  const { grid, mask } = block;
  let scores = b.microsoft("FusedMatMul", [block.query, block.key], { transB: int(1) });
  const { dtype, dims } = b.known(scores);
  if (inputs.softcap) scores = squash(b, scores, inputs.softcap);
  scores = b.reshape(scores, grid);
  if (mask !== undefined) scores = b.op("Add", [scores, castTo(b, mask, dtype)]);
  const weights = inputs.sink === undefined
    ? b.op("Softmax", [scores], { axis: int(-1) })
    : softmaxWithSink(b, scores, inputs.sink);
  return b.op("MatMul", [b.reshape(weights, dims), block.value]);
}

function squash(b: GraphBuilder, scores: string, softcap: number): string {
  const { dtype } = b.known(scores);
  const bounded = b.op("Tanh", [b.op("Div", [scores, scalarOf(b, dtype, softcap)])]);
  return b.op("Mul", [bounded, scalarOf(b, dtype, softcap)]);
}

/** Softmax over the scores and one more per head, whose probability is dropped. */
function softmaxWithSink(b: GraphBuilder, scores: string, sink: string): string {
  const shape = b.shape(scores);
  const [, keyHeads, , group, keys] = shape;
  const column = b.op("Expand", [
    b.reshape(sink, [1, keyHeads, 1, group, 1]),
    b.int64s([...shape.slice(0, -1), 1]),
  ]);
  const joined = b.op("Concat", [scores, column], { axis: int(-1) });
  const weights = b.op("Softmax", [joined], { axis: int(-1) });
  return b.op("Slice", [weights, b.int64s([0]), b.int64s([keys]), b.int64s([4])]);
}
