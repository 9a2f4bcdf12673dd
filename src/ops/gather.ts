/** Gather, GatherElements and GatherND: elements picked by index. */
import { int, intAttribute, string } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { asDims, entriesOf, extentsOf } from "../graph/extents.ts";
import {
  countOf,
  isAtMost,
  minus,
  plus,
  productOf,
  settled,
  times,
} from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { label, required } from "./args.ts";
import { normalizeAxis, product } from "./axes.ts";
import { expandTo, sum, zeros } from "./broadcast.ts";
import { folded, foldedFrom, rearranged, stridesOf } from "./fold.ts";
import { sliceAxis } from "./slice.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** An index as a position in [0, size); throws a `RangeError` outside. */
function place(node: Node, index: Extent, size: Extent): Extent {
  const at = isAtMost(index, -1) ? plus(index, size) : index;
  if (isAtMost(at, -1) || isAtMost(size, at)) {
    throw new RangeError(
      `${label(node)}: an index must be in [${times(-1, size)}, ${
        minus(size, 1)
      }]: current value is ${index}`,
    );
  }
  return at;
}

/**
 * Zeros of shape `dims` with `updates` added along `axis` at `indices`, which has the same shape as the
 * updates.
 *
 * Uses ScatterElements, not ScatterND, whose CPU kernel adds from several threads at once and loses updates
 * if indices repeat.
 */
export function scatterAdd(
  b: GraphBuilder,
  dims: readonly Extent[],
  indices: string,
  updates: string,
  axis: number,
): string {
  const base = zeros(b, b.known(updates).dtype, dims);
  if (b.shape(updates).includes(0)) return base;
  return b.op("ScatterElements", [base, indices, updates], {
    axis: int(axis),
    reduction: string("add"),
  });
}

function gatherDims(node: Node, inputs: readonly (Known | undefined)[]) {
  const shape = extentsOf(required(node, inputs, 0).dims);
  const indices = extentsOf(required(node, inputs, 1).dims);
  const axis = normalizeAxis(node, intAttribute(node, "axis", 0), shape.length);
  return { axis, dims: asDims([...shape.slice(0, axis), ...indices, ...shape.slice(axis + 1)]) };
}

/** How the cotangent of a Gather along axis 0 is computed: by another Gather, or by sums of whole rows. */
type Transpose = { readonly indices: string } | "sum";

const TRANSPOSES = new WeakMap<GraphBuilder, Map<string, Transpose>>();

/**
 * Tells `b` that a Gather along axis 0 by `indices` is undone by one by `transpose`: no row that
 * matters is picked twice, so the cotangent is a Gather too and not a scatter.
 */
export function declareTranspose(b: GraphBuilder, indices: string, transpose: string): void {
  declare(b, indices, { indices: transpose });
}

/**
 * Tells `b` that ScatterND may undo a Gather along axis 0 by `indices`, which pick rows several times: it
 * adds whole rows, many times as fast as ScatterElements. A vector of indices needs a single thread; the rows
 * of a matrix are taken in turn, and none of them may pick a row that matters twice.
 */
export function declareSum(b: GraphBuilder, indices: string): void {
  declare(b, indices, "sum");
}

function declare(b: GraphBuilder, indices: string, transpose: Transpose): void {
  const declared = TRANSPOSES.get(b) ?? new Map<string, Transpose>();
  TRANSPOSES.set(b, declared.set(indices, transpose));
}

/**
 * `sum` with each row of `updates` added to the row that `indices` names: by one vector of them, which needs
 * a single thread, or by the rows of a matrix in turn, none of which names a row that matters twice.
 *
 * @param sum [rows, ...]
 * @param indices int64 [n], or [count, n]
 * @param updates [...shape of the indices, ...]
 */
export function sumRows(b: GraphBuilder, sum: string, indices: string, updates: string): string {
  const add = (sum: string, index: string, rows: string) =>
    b.op("ScatterND", [sum, index, rows], { reduction: string("add") });
  const size = b.shape(indices);
  if (size.length === 1) return add(sum, b.reshape(indices, [...size, 1]), updates);
  const [sequences, length] = size;
  // One node for each sequence.
  const count = countOf(sequences);
  const behind = b.shape(sum).slice(1);
  const parts = (x: string) =>
    count === 1
      ? [x]
      : b.ops("Split", [x, b.int64s(new Array(count).fill(1))], count, { axis: int(0) });
  const rows = parts(updates);
  return parts(indices).reduce(
    (sum, index, i) =>
      add(sum, b.reshape(index, [length, 1]), b.reshape(rows[i], [length, ...behind])),
    sum,
  );
}

export const Gather: OpRule = {
  opType: "Gather",
  domain: "",
  since: 7,
  attributes: ["axis"],
  inputs: "2",
  outputs: "1",
  traits: mixed("lookup"),
  infer(node, inputs) {
    const data = required(node, inputs, 0);
    const { axis, dims } = gatherDims(node, inputs);
    return [
      foldedFrom(data.dtype, dims, [data], () => {
        const size = data.dims[axis];
        const inner = product(data.dims, axis + 1);
        const indices = toNumbers(inputs[1]!.value!);
        const places = Array.from(indices, (index) => settled(place(node, index, size)));
        const source: number[] = [];
        for (let outer = 0; outer < product(data.dims, 0, axis); outer++) {
          for (const at of places) {
            for (let i = 0; i < inner; i++) source.push((outer * size + at) * inner + i);
          }
        }
        return source;
      }, [inputs[1]]),
    ];
  },
  /** One known index is a Slice, whose cotangent is a cheap Pad. */
  lower(b, node) {
    const [data, indices] = [b.known(node.inputs[0]), b.known(node.inputs[1])];
    if (indices.value === undefined || productOf(extentsOf(indices.dims)) !== 1) return undefined;
    const { axis, dims } = gatherDims(node, [data, indices]);
    const index = entriesOf(indices.value)?.[0] ?? toNumbers(indices.value)[0];
    const at = place(node, index, extentsOf(data.dims)[axis]);
    return [b.reshape(sliceAxis(b, node.inputs[0], axis, at, plus(at, 1)), dims)];
  },
  vjp(b, node, [ct], wanted) {
    if (!wanted[0]) return [undefined, undefined];
    const data = b.shape(node.inputs[0]);
    const indices = b.shape(node.inputs[1]);
    const axis = normalizeAxis(node, intAttribute(node, "axis", 0), data.length);
    const transpose = TRANSPOSES.get(b)?.get(node.inputs[1]);
    if (transpose !== undefined && axis === 0) {
      const back = transpose === "sum"
        ? sumRows(b, zeros(b, b.known(ct!).dtype, data), node.inputs[1], ct!)
        : b.op("Gather", [ct!, transpose.indices], { axis: int(0) });
      return [back, undefined];
    }
    const count = productOf(indices);
    const flat = data.map((dim, i) => i === axis ? count : dim);
    const row = data.map((_, i) => i === axis ? count : 1);
    const places = expandTo(b, b.reshape(node.inputs[1], row), flat);
    return [scatterAdd(b, data, places, b.reshape(ct!, flat), axis), undefined];
  },
};

export const GatherElements: OpRule = {
  opType: "GatherElements",
  domain: "",
  since: 11,
  attributes: ["axis"],
  inputs: "2",
  outputs: "1",
  traits: mixed("lookup"),
  infer(node, inputs) {
    const data = required(node, inputs, 0);
    const { dims } = required(node, inputs, 1);
    if (dims.length !== data.dims.length) {
      throw new RangeError(
        `${label(node)} needs data and indices of one rank: [${data.dims}] and [${dims}]`,
      );
    }
    const axis = normalizeAxis(node, intAttribute(node, "axis", 0), dims.length);
    return [
      folded(data.dtype, dims, inputs, ([value, indices]) => {
        const [strides, at] = [stridesOf(data.dims), stridesOf(dims)];
        const source = Array.from(toNumbers(indices), (given, i) =>
          dims.reduce((sum, dim, k) => {
            const own = Math.floor(i / at[k]) % dim;
            const index = k === axis ? settled(place(node, given, data.dims[axis])) : own;
            return sum + index * strides[k];
          }, 0));
        return rearranged(value, dims, source);
      }),
    ];
  },
  vjp(b, node, [ct], wanted) {
    if (!wanted[0]) return [undefined, undefined];
    const dims = b.shape(node.inputs[0]);
    const axis = normalizeAxis(node, intAttribute(node, "axis", 0), dims.length);
    return [scatterAdd(b, dims, node.inputs[1], ct!, axis), undefined];
  },
};

/** How GatherND reads: `batch` leading axes run in parallel, `depth` axes are indexed, the rest is copied. */
function gatherNdShape(node: Node, data: readonly Extent[], indices: readonly Extent[]) {
  const batch = intAttribute(node, "batch_dims", 0);
  const depth = settled(indices[indices.length - 1]);
  if (batch + depth > data.length) {
    throw new RangeError(
      `${label(node)} indexes ${depth} axes after ${batch}, and data has [${data}]`,
    );
  }
  const tail = data.slice(batch + depth);
  return { batch, depth, tail, dims: [...indices.slice(0, -1), ...tail] };
}

function gatherNdSource(node: Node, data: readonly number[], indices: Tensor): number[] {
  const { batch, depth } = gatherNdShape(node, data, indices.dims);
  const numbers = toNumbers(indices);
  const strides = stridesOf(data);
  const inner = product(data, batch + depth);
  const rows = product(indices.dims, 0, indices.dims.length - 1);
  const rowsPerBatch = rows / (product(data, 0, batch) || 1);
  const source: number[] = [];
  for (let row = 0; row < rows; row++) {
    let at = Math.floor(row / rowsPerBatch) * product(data, batch);
    for (let k = 0; k < depth; k++) {
      const index = settled(place(node, numbers[row * depth + k], data[batch + k]));
      at += index * strides[batch + k];
    }
    for (let i = 0; i < inner; i++) source.push(at + i);
  }
  return source;
}

export const GatherND: OpRule = {
  opType: "GatherND",
  domain: "",
  since: 11,
  attributes: ["batch_dims"],
  inputs: "2",
  outputs: "1",
  traits: mixed("lookup"),
  infer(node, inputs) {
    const data = required(node, inputs, 0);
    const indices = required(node, inputs, 1);
    const shape = gatherNdShape(node, extentsOf(data.dims), extentsOf(indices.dims));
    const dims = asDims(shape.dims);
    return [
      folded(
        data.dtype,
        dims,
        inputs,
        ([value, places]) => rearranged(value, dims, gatherNdSource(node, data.dims, places)),
      ),
    ];
  },
  /** Each tuple of indices becomes one position on a flattened axis. */
  vjp(b, node, [ct], wanted) {
    if (!wanted[0]) return [undefined, undefined];
    const data = b.shape(node.inputs[0]);
    const indices = b.shape(node.inputs[1]);
    const { batch, depth, tail } = gatherNdShape(node, data, indices);
    const batches = productOf(data.slice(0, batch));
    const indexed = data.slice(batch, batch + depth);
    const rows = batches === 0 ? 0 : productOf(indices.slice(batch, -1));
    const flat = flatIndices(b, b.reshape(node.inputs[1], [batches, rows, depth]), indexed);
    const inner = productOf(tail);
    const places = expandTo(b, flat, [batches, rows, inner]);
    const updates = b.reshape(ct!, [batches, rows, inner]);
    const scattered = scatterAdd(b, [batches, productOf(indexed), inner], places, updates, 1);
    return [b.reshape(scattered, data), undefined];
  },
};

/** [..., depth] tuples of indices to [..., 1] positions in a row-major array of shape `dims`. */
function flatIndices(b: GraphBuilder, indices: string, dims: readonly Extent[]): string {
  // ONNX's Mod has the divisor's sign: a negative index counts from the end.
  const within = b.op("Mod", [indices, b.int64s(dims.map((dim) => dim === 0 ? 1 : dim))]);
  const strides = dims.map((_, i) => productOf(dims.slice(i + 1)));
  const weighted = b.op("Mul", [within, b.int64s(strides)]);
  return sum(b, weighted, [b.dims(indices).length - 1]);
}
