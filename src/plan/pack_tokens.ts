/**
 * Packs a batch's real tokens: operators that treat tokens one by one run over them only, and only attention
 * sees the padding.
 *
 * The first packed rows are the real tokens; the rest are copies of one padding token, so that unpacking
 * gives every padding position that token's values. Packing and unpacking are Gathers, each the other's
 * transpose: padding does not enter the loss, so its cotangents are zero. A row that several sequences share
 * is packed from the first of its positions, and the cotangents of all its positions are summed.
 */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { int64Of } from "../graph/extents.ts";
import { prune } from "../graph/passes/prune.ts";
import { times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { int64 } from "../graph/tensor.ts";
import { GRAFT, type Graph, type Node, operatorName } from "../graph/types.ts";
import { attendByPositions } from "../ops/contrib/attention_core.ts";
import type { AttentionInputs } from "../ops/contrib/attention_form.ts";
import { cut } from "../ops/contrib/attention_masks.ts";
import { shared } from "../ops/contrib/support.ts";
import { attendedOf } from "../ops/internal/attend.ts";
import { kindOf } from "../ops/registry.ts";
import type { BatchShape } from "./inputs.ts";
import { PACKED, SHARED } from "./names.ts";
import type { PrefixSums } from "./options.ts";
import { attendPacked, type PackedTokens } from "./packed_attention.ts";
import { RowSubset } from "./row_subset.ts";
import { IndivisibleError, type Span } from "./span.ts";
import { TARGET_ROWS } from "./select_rows.ts";
import { firstPosition, TokenRows } from "./token_rows.ts";

/** Further facts about a batch's rows. */
export interface PackingOptions {
  /** How rows shared by sequences sum cotangents; absent where none are shared. */
  readonly prefixSums?: PrefixSums;
  /** Tokens that all sequences begin with; default 0. */
  readonly common?: Extent;
  /** For a single sequence: the tokens that are packed rows, in order, none of them padding. */
  readonly span?: Span<Extent>;
}

/**
 * @param lowered graph of known shapes, attention in one piece (`ops/internal/attend.ts`)
 * @param trainable initializers that training changes, from which nothing may be folded
 * @param rows packed rows: more than hold tokens, fewer than batch · length
 * @returns the graph with the inputs of {@linkcode PACKED} or {@linkcode SHARED}, where something in it can
 *   be packed
 * @throws {IndivisibleError} where a span's tokens see others outside attention
 */
export function packTokens(
  lowered: Graph,
  shape: BatchShape,
  rows: Extent,
  trainable: ReadonlySet<string>,
  { prefixSums, common = 0, span }: PackingOptions = {},
): Graph {
  const names = prefixSums === undefined ? PACKED : SHARED;
  // A span's rows are contiguous; rows of other tokens get no cotangent from it.
  const choose = (b: GraphBuilder, flat: string) =>
    span === undefined ? b.op("Gather", [flat, names.positions], { axis: int(0) }) : cut(
      b,
      flat,
      -b.dims(flat).length,
      span.from,
      shape.length,
      shape.length,
    );
  const [suffix, padded] = PACKED_SUFFIXES;
  const tokens = new TokenRows(lowered, shape, true);
  const packed = new RowSubset(lowered, shape, { tokens, trainable, rows, choose, suffix });
  const { b } = packed;
  b.input(names.positions, "int64", [rows]);
  const { batch, length } = shape;
  const bySequence = prefixSums === "by sequence";
  b.input(names.rows, "int64", bySequence ? [batch, length] : [times(batch, length)]);
  const unpacked = (value: string): string => {
    const lead = packed.leadOf(value);
    const name = `${value}${padded}`;
    if (lead === undefined || b.has(name)) return lead === undefined ? value : name;
    const flat = b.reshape(value, [rows, ...b.shape(value).slice(lead)]);
    const gathered = b.op("Gather", [flat, names.rows], { axis: int(0) });
    return packed.named(name, gathered, packed.before(value));
  };
  const packedTokens: PackedTokens = { ...shape, names, prefixSums, common };
  let attentions = 0;
  for (const node of lowered.nodes) {
    const attended = attendedOf(node);
    const operands = tokens.operandsOf(node);
    const begins = startsPacking(node) || operands?.some((operand) => packed.leadOf(operand));
    const first = firstPosition(lowered, node);
    if (attended !== undefined) {
      const part = span && { ...span, attention: attentions++ };
      addAttention(packed, node, {
        attended,
        unpacked,
        packedTokens: { ...packedTokens, span: part },
      });
    } else if (operands === undefined || !begins) {
      if (span !== undefined && !choosesTargets(node)) refuseUnpacked(packed, node);
      b.add({ ...node, inputs: node.inputs.map(unpacked), rest: undefined });
    } else if (first === undefined) packed.addReduced(node, operands);
    else addRotated(packed, node, shape, { first, flat: names.positions });
  }
  const outputs = lowered.outputs.map(({ name }) => unpacked(name));
  return prune(b.build(lowered.name, outputs));
}

/** Whether a node reads only target rows, which lie in the span. */
function choosesTargets({ opType, inputs }: Node): boolean {
  return opType === "Gather" && inputs[1] === TARGET_ROWS;
}

/** @throws {IndivisibleError} where a node reads rows of a span that it does not compute one by one */
function refuseUnpacked(packed: RowSubset, node: Node): void {
  if (node.inputs.every((input) => packed.leadOf(input) === undefined)) return;
  throw new IndivisibleError(
    `Node "${node.name}" (${operatorName(node)}) sees tokens other than its own`,
  );
}

/** Adds attention, over packed rows where all token inputs are packed. */
function addAttention(
  packed: RowSubset,
  node: Node,
  { attended, unpacked, packedTokens }: {
    readonly attended: AttentionInputs;
    readonly unpacked: (value: string) => string;
    readonly packedTokens: PackedTokens;
  },
): void {
  const { b } = packed;
  const { query, key, value, masks, sink } = attended;
  const [output] = node.outputs;
  const others = { masks: masks.map(unpacked), sink: sink && unpacked(sink) };
  const isPacked = [query, key, value].every((x) => packed.leadOf(x) === 2);
  if (isPacked) {
    packed.nameReduced(output, attendPacked(b, { ...attended, ...others }, packedTokens));
  } else if (packedTokens.span !== undefined) {
    throw new IndivisibleError(`Attention "${node.name}" reads values without a row per token`);
  } else {
    const [q, k, v] = [query, key, value].map(unpacked);
    const inputs = { ...attended, query: q, key: k, value: v, ...others };
    packed.named(output, attendByPositions(b, inputs, packedTokens.common));
  }
}

/** Adds a rotation of the packed rows; the first token has position `first`. */
function addRotated(
  packed: RowSubset,
  node: Node,
  { length }: BatchShape,
  { first, flat }: { readonly first: number; readonly flat: string },
): void {
  const { b } = packed;
  const [value, , ...tables] = node.inputs;
  const x = packed.chosen(value);
  const [, rows, width] = b.shape(x);
  const positions = shared(b, `positions of rows from ${first}`, () => {
    const position = b.reshape(flat, [rows, 1]);
    const inSequence = b.op("Mod", [position, b.constant(int64Of([], [length]))]);
    return first === 0 ? inSequence : b.op("Add", [inSequence, b.constant(int64([], [first]))]);
  });
  // As sequences of one token each: the kernel accepts none that are longer than its tables.
  const inputs = [b.reshape(x, [rows, 1, width]), positions, ...tables];
  const [rotated] = b.emit({ ...node, inputs, outputs: undefined, outputCount: 1 });
  packed.nameReduced(node.outputs[0], rotated);
}

/** Suffixes of the names of a value's packed and padded forms. */
export const PACKED_SUFFIXES = [".packed", ".padded"] as const;

/** Packing starts to pay at the first product or normalisation; only lookups come before it. */
function startsPacking(node: Node): boolean {
  const kind = kindOf(node);
  return node.domain === GRAFT || kind === "product" || kind === "normalization";
}
