/**
 * Attention over packed tokens. What a block of queries reads is in packed rows, token by token, and is
 * looked up head by head where it is needed. The results of all blocks are looked up as packed rows. Nothing
 * is unpacked, transposed, cut or joined on the way.
 */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { sizedTensor } from "../graph/extents.ts";
import { minus, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { int64 } from "../graph/tensor.ts";
import { type Block, blocksOf, packedBlockTokens } from "../ops/contrib/attention_blocks.ts";
import { attendBlock, sharedTokens } from "../ops/contrib/attention_core.ts";
import type { AttentionInputs } from "../ops/contrib/attention_form.ts";
import { blockMask, cut } from "../ops/contrib/attention_masks.ts";
import type { Causal } from "../ops/contrib/attention_blocks.ts";
import { scalarOf } from "../ops/broadcast.ts";
import { shared } from "../ops/contrib/support.ts";
import { emitJoinedRows, emitPickedRows, type RowsBack } from "../ops/internal/pick_rows.ts";
import { FIRST_ROWS, type PackingNames } from "./names.ts";
import type { PrefixSums } from "./options.ts";
import { earlierName, laterName, type Span } from "./span.ts";

/** The layout of a batch's tokens. */
export interface PackedTokens {
  /** Sequences per batch. */
  readonly batch: Extent;
  /** Tokens per sequence, padding included. */
  readonly length: Extent;
  readonly names: PackingNames;
  /** How rows shared by sequences sum cotangents; absent where none are shared. */
  readonly prefixSums?: PrefixSums;
  /** Tokens that all sequences begin with. */
  readonly common: Extent;
  /** The span of a sequence whose tokens are the rows, and the number of this attention among all. */
  readonly span?: Span<Extent> & { readonly attention: number };
}

/** A block of queries of some sequences: only the first, standing for all of them, or every one. */
interface Part extends Block {
  readonly sequences: Extent;
}

/**
 * @param inputs query, key and value as [1, rows, heads, size], masks over all positions
 * @returns [1, rows, H · valueSize]
 */
export function attendPacked(
  b: GraphBuilder,
  inputs: AttentionInputs,
  packed: PackedTokens,
): string {
  const { batch, length, names, prefixSums, span } = packed;
  const keyHeads = b.dims(inputs.value)[2];
  const group = b.dims(inputs.query)[2] / keyHeads;
  const parts = partsOf(inputs.causal, group, packed);
  const ofKeys = parts.map(({ sequences, first, last }): Tokens => ({
    sequences,
    from: first,
    to: last,
  }));
  const rowsOf = (rows: string, tokens: readonly Tokens[], group: number) =>
    tokens.map((some) => headRows(b, rows, packed, some, [keyHeads, group]));
  const queryRows = rowsOf(names.rows, parts, group);
  const keyRows = rowsOf(span === undefined ? names.rows : everyRow(b, length), ofKeys, 1);
  const back = joinedRows(b, packed, parts, [keyHeads, group]);

  const queries = emitPickedRows(b, headsOf(b, inputs.query), queryRows, { by: back });
  const keysBack = keysBackOf(b, packed, ofKeys, keyHeads);
  const keys = emitPickedRows(b, keysSeen(b, inputs.key, "keys", span), keyRows, keysBack);
  const values = emitPickedRows(b, keysSeen(b, inputs.value, "values", span), keyRows, keysBack);
  const scale = scalarOf(b, b.known(inputs.query).dtype, inputs.scale);
  const mixed = parts.map((part, i) => {
    const { sequences, from, to, first, last } = part;
    const masks = inputs.masks.map((mask) => cut(b, mask, -5, 0, sequences, batch));
    const whole = [sequences, keyHeads, length, group, length];
    return attendBlock(b, inputs, {
      query: b.op("Mul", [queries[i], scale]),
      key: keys[i],
      value: values[i],
      mask: blockMask(b, masks, inputs.causal, part, whole),
      grid: [sequences, keyHeads, minus(to, from), group, minus(last, first)],
    });
  });
  const cotangents = prefixSums === undefined
    ? queryRows
    : rowsOf(firstRows(b, packed), parts, group);
  return emitJoinedRows(b, back, mixed.map((value, i) => ({ value, from: cotangents[i] })));
}

function partsOf(
  causal: Causal | undefined,
  group: number,
  { batch, length, common, span }: PackedTokens,
): Part[] {
  const shared = sharedTokens(causal, batch, length, length, common);
  const blocks = (from: Extent, to: Extent, sequences: Extent) =>
    blocksOf(minus(to, from), from, to, causal, packedBlockTokens(group))
      .map((block) => ({ ...block, sequences }));
  if (span !== undefined) return blocks(span.from, length, 1);
  return [
    ...shared === 0 ? [] : blocks(0, shared, 1),
    ...blocks(shared, length, batch),
  ];
}

/** Some tokens of the first sequences. */
interface Tokens {
  readonly sequences: Extent;
  readonly from: Extent;
  readonly to: Extent;
}

/** @returns [rows · heads, size] of [1, rows, heads, size] */
function headsOf(b: GraphBuilder, x: string): string {
  const [, rows, heads, size] = b.shape(x);
  return b.reshape(x, [times(rows, heads), size]);
}

/**
 * Keys, or values, of all tokens that a row may see: for a span, those of earlier spans followed by its own,
 * under the name by which the next span reads them.
 *
 * @returns [tokens · heads, size]
 */
function keysSeen(
  b: GraphBuilder,
  x: string,
  role: "keys" | "values",
  span: PackedTokens["span"],
): string {
  const own = headsOf(b, x);
  if (span === undefined) return own;
  const { from, continues, attention } = span;
  const [, , heads, size] = b.shape(x);
  const named = { domain: "", ...(continues && { outputs: [laterName(role, attention)] }) };
  if (from !== 0) {
    const before = [times(from, heads), size];
    const earlier = b.input(earlierName(role, attention), b.known(x).dtype, before);
    const attributes = { axis: int(0) };
    return b.emit({
      ...named,
      ...{ opType: "Concat", inputs: [earlier, own], attributes, outputCount: 1 },
    })[0];
  }
  const dims = b.int64s(b.dims(own));
  return b.emit({
    ...named,
    ...{ opType: "Reshape", inputs: [x, dims], attributes: {}, outputCount: 1 },
  })[0];
}

/** Rows of a sequence's tokens, in order, where each token has one: int64 [length]. */
function everyRow(b: GraphBuilder, length: Extent): string {
  return shared(
    b,
    `rows of ${length} tokens`,
    () => b.constant(sizedTensor("ascending", "int64", [length], [length], ascendingRows)),
  );
}

const ascendingRows = (count: number) => int64([count], upTo(count)).bytes;

/** How the cotangents of keys and values are summed: several blocks may read the same packed row. */
function keysBackOf(
  b: GraphBuilder,
  packed: PackedTokens,
  read: readonly Tokens[],
  keyHeads: number,
): RowsBack {
  const { length, prefixSums, span } = packed;
  const [{ from, to }] = read;
  if (
    span === undefined && prefixSums === undefined && read.length === 1 && from === 0 &&
    to === length
  ) {
    return { by: joinedRows(b, packed, read, [keyHeads, 1]) };
  }
  return prefixSums === "together" ? "sum" : "sum in turn";
}

/** For each position that is the first of its row, that row; for others, a row whose cotangent is zero. */
function firstRows(b: GraphBuilder, { batch, length }: PackedTokens): string {
  if (!b.has(FIRST_ROWS)) b.input(FIRST_ROWS, "int64", [times(batch, length)]);
  return FIRST_ROWS;
}

const counted = (b: GraphBuilder, dims: readonly number[], numbers: readonly number[]) =>
  b.constant(int64(dims, numbers), "counted");

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

/**
 * Indices of the heads of some tokens among those of all packed rows, [rows · H]; computed once for all
 * layers.
 *
 * @param rows name of the packed row of each position
 * @returns int64 [sequences, keyHeads, tokens · group]
 */
function headRows(
  b: GraphBuilder,
  rows: string,
  { batch, length }: PackedTokens,
  { sequences, from, to }: Tokens,
  [keyHeads, group]: readonly [number, number],
): string {
  const tokens = minus(to, from);
  return shared(b, `heads ${[rows, sequences, from, to, keyHeads, group]}`, () => {
    const grid = shared(b, `grid of ${rows}`, () => b.reshape(rows, [batch, length]));
    const some = cut(b, cut(b, grid, -2, 0, sequences, batch), -1, from, to, length);
    const firstHeads = b.op("Mul", [
      b.reshape(some, [sequences, 1, tokens, 1]),
      counted(b, [], [keyHeads * group]),
    ]);
    const heads = counted(b, [1, keyHeads, 1, group], upTo(keyHeads * group));
    const shape = [sequences, keyHeads, times(tokens, group)];
    return b.reshape(b.op("Add", [firstHeads, heads]), shape);
  });
}

/**
 * Indices of the heads of all packed rows among those of some tokens, one {@linkcode headRows} after another;
 * computed once for all layers.
 *
 * @returns int64 [rows, H]
 */
function joinedRows(
  b: GraphBuilder,
  { batch, length, names }: PackedTokens,
  parts: readonly Tokens[],
  [keyHeads, group]: readonly [number, number],
): string {
  return shared(b, `joined ${JSON.stringify([parts, keyHeads, group])}`, () => {
    const [rows] = b.shape(names.positions);
    const of = [
      batch,
      length,
      ...parts.flatMap(({ sequences, from, to }) => [sequences, from, to]),
    ];
    const ofRows = (what: "starts" | "strides") => {
      const places = sizedTensor(
        `${what} of ${keyHeads} times ${group} heads`,
        "int64",
        [times(batch, length)],
        of,
        placesOf(what, [keyHeads, group]),
      );
      const all = b.constant(places, "counted");
      return b.reshape(b.op("Gather", [all, names.positions], { axis: int(0) }), [rows, 1, 1]);
    };
    const toHeads = b.op("Mul", [ofRows("strides"), counted(b, [1, keyHeads, 1], upTo(keyHeads))]);
    const firsts = b.op("Add", [ofRows("starts"), toHeads]);
    const heads = b.op("Add", [firsts, counted(b, [1, 1, group], upTo(group))]);
    return b.reshape(heads, [rows, keyHeads * group]);
  });
}

/**
 * The index of each position's first head among those of all parts, or the distance between its heads.
 *
 * @param sizes sequences and tokens of a batch, then each part's sequences, first token and end
 */
const placesOf = (
  what: "starts" | "strides",
  [keyHeads, group]: readonly [number, number],
) =>
(...[batch, length, ...parts]: readonly number[]): Uint8Array => {
  const places = new Array<number>(batch * length).fill(0);
  let offset = 0;
  for (let part = 0; part < parts.length; part += 3) {
    const [sequences, from, to] = parts.slice(part, part + 3);
    const stride = (to - from) * group;
    for (let s = 0; s < batch; s++) {
      // Where one sequence stands for all, it is the first.
      const of = Math.min(s, sequences - 1);
      for (let t = from; t < to; t++) {
        places[s * length + t] = what === "strides"
          ? stride
          : offset + of * keyHeads * stride + (t - from) * group;
      }
    }
    offset += sequences * keyHeads * stride;
  }
  return int64([places.length], places).bytes;
};
