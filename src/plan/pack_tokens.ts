/**
 * Packs a batch's real tokens: whatever treats tokens one by one runs over them alone, and only
 * attention sees the padding.
 *
 * The first of the packed rows are the real tokens, the rest copies of one padding token, so that
 * unpacking gives every padding place what that token would have. Packing and unpacking are Gathers,
 * each the other's transpose: padding takes no part in the loss, so its cotangents are zero. A row
 * that several sequences share is packed from the first of its places, and the cotangents of all its
 * places are summed.
 */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { prune } from "../graph/passes/prune.ts";
import { GRAFT, type Graph, type Node } from "../graph/types.ts";
import type { BatchShape } from "./inputs.ts";
import { PACKED, SHARED } from "./names.ts";
import type { PrefixSums } from "./options.ts";
import { RowSubset } from "./row_subset.ts";
import { isNormalization } from "./row_wise.ts";

/**
 * @param lowered graph of concrete shapes
 * @param trainable initializers that change, from which nothing may be folded
 * @param rows packed rows: more than hold tokens, less than batch · length
 * @param prefixSums how rows that sequences share sum cotangents; absent: they share none
 * @returns the graph with the inputs of {@linkcode PACKED} or {@linkcode SHARED}; the same graph where
 *   nothing in it can be packed
 */
export function packTokens(
  lowered: Graph,
  shape: BatchShape,
  rows: number,
  trainable: ReadonlySet<string>,
  prefixSums?: PrefixSums,
): Graph {
  const names = prefixSums === undefined ? PACKED : SHARED;
  const choose = (b: GraphBuilder, flat: string) =>
    b.op("Gather", [flat, names.places], { axis: int(0) });
  const [suffix, padded] = PACKED_SUFFIXES;
  const packed = new RowSubset(lowered, shape, { trainable, rows, choose, suffix });
  const { b, tokens } = packed;
  b.input(names.places, "int64", [rows]);
  const { batch, length } = shape;
  const bySequence = prefixSums === "by sequence";
  b.input(names.rows, "int64", bySequence ? [batch, length] : [batch * length]);
  const unpacked = (value: string): string => {
    const lead = packed.leadOf(value);
    const name = `${value}${padded}`;
    if (lead === undefined || b.has(name)) return lead === undefined ? value : name;
    const flat = b.reshape(value, [rows, ...b.dims(value).slice(lead)]);
    const gathered = b.op("Gather", [flat, names.rows], { axis: int(0) });
    return packed.named(name, gathered, packed.before(value));
  };
  for (const node of lowered.nodes) {
    const operands = tokens.operandsOf(node);
    const begins = startsPacking(node) || operands?.some((operand) => packed.leadOf(operand));
    if (operands !== undefined && begins) packed.addReduced(node, operands);
    else b.add({ ...node, inputs: node.inputs.map(unpacked), rest: undefined });
  }
  if (packed.isEmpty) return lowered;
  const outputs = lowered.outputs.map(({ name }) => unpacked(name));
  return prune(b.build(lowered.name, outputs));
}

/** What the names of values end in that only take another form, packed or padded. */
export const PACKED_SUFFIXES = [".packed", ".padded"] as const;

/** Packing pays from the first product or normalisation on; what comes before is lookups. */
function startsPacking(node: Node): boolean {
  return node.domain === GRAFT || node.opType === "MatMul" || node.opType === "Gemm" ||
    isNormalization(node);
}
