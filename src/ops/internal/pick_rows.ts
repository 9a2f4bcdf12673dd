/**
 * graft.PickRows and graft.JoinRows: rows of one matrix in the order of several readers, and the reverse:
 * the rows that the readers made from them, joined.
 *
 *     PickRows(x, back, i₁, …): yₖ = x[iₖ];    JoinRows(back, y₁, …, i₁, …): z = [y₁; …][back]
 *
 * Each also takes the indices that reverse it. A Gather's own derivative would add up the readers' cotangents
 * of a row one number at a time; if each row that matters has one reader, it becomes a Gather again.
 */
import { int, string, stringAttribute } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { asDims, extentsOf } from "../../graph/extents.ts";
import { node as nodeOf } from "../../graph/node.ts";
import { productOf, times } from "../../graph/extent_arithmetic.ts";
import { GRAFT, type Node } from "../../graph/types.ts";
import { required } from "../args.ts";
import { zeros } from "../broadcast.ts";
import { sumRows } from "../gather.ts";
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";

/**
 * How cotangents return to the rows that were picked: from the one position that has a row's cotangent, by
 * indices into everything that was picked, in order; or as sums over all positions. The sums are made either
 * all at once, which must run on one thread, or by the indices of one sequence after those of another, none
 * of which names a row that matters twice.
 */
export type RowsBack = { readonly by: string } | "sum" | "sum in turn";

/**
 * Emits lookups of rows.
 *
 * @param x [N, width]
 * @param indices int64, of any shape; for `sum in turn` the first axis counts the sequences
 * @returns for each the rows, [...its shape, width]
 */
export function emitPickedRows(
  b: GraphBuilder,
  x: string,
  indices: readonly string[],
  back: RowsBack,
): readonly string[] {
  const [by, sums] = typeof back === "string" ? ["", back] : [back.by, ""];
  return b.emit({
    opType: "PickRows",
    domain: GRAFT,
    inputs: [x, by, ...indices],
    attributes: { sums: string(sums) },
    outputCount: indices.length,
  });
}

/**
 * Emits the rows of several values that `back` names, some of them side by side.
 *
 * @param back int64 [rows, count]: numbers of rows of all values, one after another
 * @param values each with where its rows' cotangents come from: int64 of its shape without the last axis,
 *   numbers in [rows · count]
 * @returns [1, rows, count · width]
 */
export function emitJoinedRows(
  b: GraphBuilder,
  back: string,
  values: readonly { readonly value: string; readonly from: string }[],
): string {
  const inputs = [back, ...values.map(({ value }) => value), ...values.map(({ from }) => from)];
  return b.emit({
    opType: "JoinRows",
    domain: GRAFT,
    inputs,
    attributes: {},
    outputCount: 1,
  })[0];
}

const gather = (b: GraphBuilder, x: string, indices: string) =>
  b.op("Gather", [x, indices], { axis: int(0) });

/** Concatenates all rows of several values. */
function oneAfterAnother(b: GraphBuilder, values: readonly string[]): string {
  const flat = values.map((value) => {
    const shape = b.shape(value);
    return b.reshape(value, [productOf(shape.slice(0, -1)), shape.at(-1)!]);
  });
  return flat.length === 1 ? flat[0] : b.op("Concat", flat, { axis: int(0) });
}

export const PickRows: OpRule = {
  opType: "PickRows",
  domain: GRAFT,
  since: 1,
  attributes: ["sums"],
  inputs: "3..",
  outputs: "1..",
  traits: mixed("lookup"),

  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    const width = dims[1];
    return node.outputs.map((_, k) => ({
      dtype,
      dims: asDims([...extentsOf(required(node, inputs, 2 + k).dims), width]),
    }));
  },

  vjp(b, node, cotangents) {
    const [x, by, ...indices] = node.inputs;
    const none = node.inputs.map(() => undefined);
    const given = node.outputs.map((y, k) =>
      cotangents[k] ?? zeros(b, b.known(y).dtype, b.dims(y))
    );
    if (by !== "") {
      const rows = gather(b, oneAfterAnother(b, given), by);
      return [b.reshape(rows, b.shape(x)), ...none.slice(1)];
    }
    const inTurn = stringAttribute(node, "sums", "") === "sum in turn";
    const width = b.dims(x)[1];
    const sum = indices.reduce((sum, rows, k) => {
      const all = b.shape(rows);
      const shape = inTurn ? [all[0], productOf(all.slice(1))] : [productOf(all)];
      const updates = b.reshape(given[k], [...shape, width]);
      return sumRows(b, sum, b.reshape(rows, shape), updates);
    }, zeros(b, b.known(x).dtype, b.dims(x)));
    return [sum, ...none.slice(1)];
  },

  expand(b, node) {
    const [x, , ...indices] = node.inputs;
    indices.forEach((rows, k) => {
      b.add(nodeOf("Gather", [x, rows], node.outputs[k], { axis: int(0) }));
    });
  },
};

export const JoinRows: OpRule = {
  opType: "JoinRows",
  domain: GRAFT,
  since: 1,
  attributes: [],
  inputs: "3..",
  outputs: "1",
  traits: mixed("lookup"),

  infer(node, inputs) {
    const [rows, count] = extentsOf(required(node, inputs, 0).dims);
    const { dtype, dims } = required(node, inputs, 1);
    return [{ dtype, dims: asDims([1, rows, times(count, dims.at(-1)!)]) }];
  },

  vjp(b, node, [ct], wanted) {
    const { back, values, from } = joinedOf(node);
    const width = b.dims(values[0]).at(-1)!;
    const rows = b.reshape(ct!, [productOf(b.shape(back)), width]);
    return [
      undefined,
      ...values.map((_, k) => wanted[1 + k] ? gather(b, rows, from[k]) : undefined),
      ...from.map(() => undefined),
    ];
  },

  expand(b, node) {
    const { back, values } = joinedOf(node);
    const joined = gather(b, oneAfterAnother(b, values), back);
    const [rows, count, width] = b.shape(joined);
    b.add(nodeOf("Reshape", [joined, b.int64s([1, rows, times(count, width)])], node.outputs[0]));
  },
};

function joinedOf({ inputs: [back, ...others] }: Node) {
  const count = others.length / 2;
  return { back, values: others.slice(0, count), from: others.slice(count) };
}
