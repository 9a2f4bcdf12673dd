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
import { int64, toNumbers } from "../graph/tensor.ts";
import { GRAFT, type Graph, type Node } from "../graph/types.ts";
import { product } from "../ops/axes.ts";
import { shared } from "../ops/contrib/support.ts";
import type { BatchShape } from "./inputs.ts";
import { PACKED, partName, SHARED } from "./names.ts";
import type { PrefixSums } from "./options.ts";
import { RowSubset } from "./row_subset.ts";
import { isNormalization } from "./row_wise.ts";
import { firstPosition, TokenRows } from "./token_rows.ts";

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
  const tokens = new TokenRows(lowered, shape, true);
  const packed = new RowSubset(lowered, shape, { tokens, trainable, rows, choose, suffix });
  const { b } = packed;
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
    const part = prefixSums && partOf(lowered, node);
    if (part !== undefined && packed.leadOf(node.inputs[0]) === 2) {
      addPart(packed, node, part, shape);
      continue;
    }
    const operands = tokens.operandsOf(node);
    const begins = startsPacking(node) || operands?.some((operand) => packed.leadOf(operand));
    const first = firstPosition(lowered, node);
    if (operands !== undefined && begins) {
      if (first === undefined) packed.addReduced(node, operands);
      else addRotated(packed, node, shape, { first, places: names.places });
    } else b.add({ ...node, inputs: node.inputs.map(unpacked), rest: undefined });
  }
  if (packed.isEmpty) return lowered;
  const outputs = lowered.outputs.map(({ name }) => unpacked(name));
  return prune(b.build(lowered.name, outputs));
}

/** What a node takes of all sequences' tokens: the constants of a Slice along both axes. */
function partOf({ initializers }: Graph, node: Node): readonly (readonly number[])[] | undefined {
  if (node.opType !== "Slice" || node.domain !== "" || node.inputs.length !== 4) return undefined;
  const constants = node.inputs.slice(1).map((input) => initializers.get(input));
  const [starts, ends, axes] = constants.map((value) => value && Array.from(toNumbers(value)));
  const isWhole = starts !== undefined && ends !== undefined && axes?.join() === "0,1" &&
    [...starts, ...ends].every((at) => at >= 0);
  return isWhole ? [starts, ends] : undefined;
}

/** Adds a node that takes part of a packed value's tokens, of which it unpacks no others. */
function addPart(
  packed: RowSubset,
  { inputs: [value], outputs: [output] }: Node,
  [starts, ends]: readonly (readonly number[])[],
  { batch, length }: BatchShape,
): void {
  const { b } = packed;
  const name = partName(SHARED.rows, starts, ends);
  if (!b.has(name)) {
    const grid = b.reshape(SHARED.rows, [batch, length]);
    const part = b.op("Slice", [grid, b.int64s(starts), b.int64s(ends), b.int64s([0, 1])]);
    const bySequence = b.dims(SHARED.rows).length === 2;
    packed.named(name, part, bySequence ? b.dims(part) : [product(b.dims(part))]);
  }
  const [, rows, ...behind] = b.dims(value);
  const flat = b.reshape(value, [rows, ...behind]);
  packed.named(output, b.op("Gather", [flat, name], { axis: int(0) }));
}

/** Adds a rotation of tokens, the first of which has position `first`, for the packed rows. */
function addRotated(
  packed: RowSubset,
  node: Node,
  { length }: BatchShape,
  { first, places }: { readonly first: number; readonly places: string },
): void {
  const { b } = packed;
  const [value, , ...tables] = node.inputs;
  const x = packed.chosen(value);
  const [, rows, width] = b.dims(x);
  const positions = shared(b, `positions of rows from ${first}`, () => {
    const place = b.reshape(places, [rows, 1]);
    const inSequence = b.op("Mod", [place, b.constant(int64([], [length]))]);
    return first === 0 ? inSequence : b.op("Add", [inSequence, b.constant(int64([], [first]))]);
  });
  // Sequences of one token: the kernel takes none that are longer than its tables.
  const inputs = [b.reshape(x, [rows, 1, width]), positions, ...tables];
  const [rotated] = b.emit({ ...node, inputs, outputs: undefined, outputCount: 1 });
  packed.addReduced({
    ...node,
    opType: "Reshape",
    domain: "",
    attributes: {},
    inputs: [rotated, ""],
  }, []);
}

/** What the names of values end in that only take another form, packed or padded. */
export const PACKED_SUFFIXES = [".packed", ".padded"] as const;

/** Packing pays from the first product or normalisation on; what comes before is lookups. */
function startsPacking(node: Node): boolean {
  return node.domain === GRAFT || node.opType === "MatMul" || node.opType === "Gemm" ||
    isNormalization(node);
}
