/** The weight of a head that runs in chunks: slices of its initializers. */
import type { GraphBuilder } from "../graph/builder.ts";
import { byteLength } from "../graph/dtype.ts";
import { int64, type Tensor } from "../graph/tensor.ts";
import type { Dim, Graph } from "../graph/types.ts";
import type { CodeType } from "../graph/codes.ts";
import type { ChunkableHead } from "./head_chunks.ts";

/** What the calls of a head's chunks have in common. */
export interface ChunkContext {
  readonly lowered: Graph;
  readonly head: ChunkableHead;
  readonly rows: number;
  readonly width: number;
  readonly constants: Map<string, Tensor>;
  /** Type of its codes where it is rounded to 8 bits. */
  readonly codes: CodeType;
}

/** Emits the chunk's weight [size, K] from slices of the initializers. */
export function chunkWeight(b: GraphBuilder, c: ChunkContext, start: number, size: number): string {
  const names = new Map<string, string>();
  const slice = (name: string): string => {
    let found = names.get(name);
    if (found === undefined) names.set(name, found = sliced(b, c, name, start, size));
    return found;
  };
  for (const node of c.head.preparing) {
    const inputs = node.inputs.map((input, i) => {
      if (input === "") return "";
      // Row numbers count from the chunk's own first row, and shapes name the chunk's rows.
      if (node.opType === "GatherBlockQuantized" && i === 1) return chunkRows(b, c, size);
      if (node.opType === "Reshape" && i === 1) {
        const shape = c.lowered.valueInfo.get(node.outputs[0])!.type!.shape as readonly number[];
        return b.int64s([size * (shape[0] / c.head.vocabulary), ...shape.slice(1)]);
      }
      return slice(input);
    });
    const { opType, domain, attributes, outputs } = node;
    const made = b.emit({ opType, domain, attributes, inputs, outputCount: outputs.length });
    outputs.forEach((output, i) => names.set(output, made[i]));
  }
  return slice(c.head.weight);
}

/** An initializer's rows [start, start + size), fed as a view; one that has no rows as it is. */
function sliced(b: GraphBuilder, c: ChunkContext, name: string, start: number, size: number) {
  const whole = c.lowered.initializers.get(name);
  if (whole === undefined) throw new ReferenceError(`"${name}" is no weight of the head`);
  const cut = isMultiple(whole.dims[0], c.head.vocabulary);
  if (!cut && whole.bytes.byteLength <= SMALL_BYTES) return b.constant(whole);
  const named = cut ? `${name}[${start}:${start + size}]` : name;
  const perRow = whole.dims[0] / c.head.vocabulary;
  const tensor = cut ? rowsOf(whole, start * perRow, size * perRow) : whole;
  c.constants.set(named, tensor);
  return b.input(named, tensor.dtype, tensor.dims);
}

/** Scalars and the like are written into the graph. */
const SMALL_BYTES = 64;

/** Whether each row of the vocabulary takes the same number of rows: one, or one per block. */
export function isMultiple(rows: Dim | undefined, vocabulary: Dim): boolean {
  return typeof rows === "number" && typeof vocabulary === "number" && rows > 0 &&
    rows % vocabulary === 0;
}

/** The numbers of a chunk's rows, int64 [size]. */
function chunkRows(b: GraphBuilder, c: ChunkContext, size: number): string {
  const name = `head.rows:${size}`;
  if (!c.constants.has(name)) {
    c.constants.set(name, int64([size], Array.from({ length: size }, (_, row) => row)));
  }
  return b.has(name) ? name : b.input(name, "int64", [size]);
}

/** Rows [start, start + size) of a tensor's first axis, as a view. */
function rowsOf(whole: Tensor, start: number, size: number): Tensor {
  const rowElements = whole.dims.slice(1).reduce((count, dim) => count * dim, 1);
  const rowBytes = byteLength(whole.dtype, rowElements);
  return {
    dtype: whole.dtype,
    dims: [size, ...whole.dims.slice(1)],
    bytes: whole.bytes.subarray(start * rowBytes, (start + size) * rowBytes),
  };
}
