/** The weight of a head that runs in chunks, as slices of its initializers. */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { byteLength } from "../graph/dtype.ts";
import type { Extent } from "../graph/size.ts";
import { ascending, int64, type Tensor } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { sliceAxis } from "../ops/slice.ts";
import type { IntegerForm } from "../ops/internal/integer_form.ts";
import { type ChunkableHead, isMultiple } from "./chunkable_head.ts";
import type { PassControl } from "./planning_pass.ts";

/** What the calls of all chunks of a head share. */
export interface ChunkContext {
  readonly lowered: Graph;
  readonly head: ChunkableHead;
  /** Rows of the hidden state. */
  readonly rows: Extent;
  readonly width: number;
  readonly constants: Map<string, Tensor>;
  /** How the weight is rounded where products are in 8-bit integers. */
  readonly form: IntegerForm;
  /** Which planning passes over the calls are left out. */
  readonly passControl?: PassControl;
}

/**
 * Emits the chunk's weight from slices of the initializers: [size, K], or [K, size] where it is stored that
 * way.
 */
export function chunkWeight(b: GraphBuilder, c: ChunkContext, start: number, size: number): string {
  const part = c.head.axis === 0 ? rowsPart : columnsPart;
  const names = new Map<string, string>();
  const slice = (name: string): string => {
    let found = names.get(name);
    if (found === undefined) names.set(name, found = part(b, c, name, start, size));
    return found;
  };
  for (const node of c.head.preparing) {
    const inputs = node.inputs.map((input, i) => {
      if (input === "") return "";
      // Row numbers count from the chunk's first row, and shapes contain the chunk's number of rows.
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

/** Emits the chunk's bias [size]; nothing where the head has none. */
export function chunkBias(
  b: GraphBuilder,
  { lowered, head: { bias, vocabulary }, constants }: ChunkContext,
  start: number,
  size: number,
): readonly string[] {
  if (bias === undefined) return [];
  const whole = { ...lowered.initializers.get(bias)!, dims: [vocabulary] };
  return [rowsView(b, constants, bias, whole, { start, size })];
}

/** Rows [start, start + size) of an initializer, fed as a view; one without such rows is fed whole. */
function rowsPart(b: GraphBuilder, c: ChunkContext, name: string, start: number, size: number) {
  const whole = weightOf(c, name);
  if (!isMultiple(whole.dims[0], c.head.vocabulary)) return asItIs(b, c, name, whole);
  const perRow = whole.dims[0] / c.head.vocabulary;
  return rowsView(b, c.constants, name, whole, { start, size, perRow });
}

/**
 * Columns [start, start + size) of an initializer, copied when the chunk is computed, since they are not
 * contiguous. One without a column per vocabulary entry is fed whole.
 *
 * Where its width and the chunks' have a common divisor, all chunks share one graph, which is told what to
 * gather; otherwise each chunk has its own graph.
 */
function columnsPart(b: GraphBuilder, c: ChunkContext, name: string, start: number, size: number) {
  const whole = weightOf(c, name);
  const { vocabulary } = c.head;
  if (whole.dims.at(-1) !== vocabulary) return asItIs(b, c, name, whole);
  if (whole.dims.length === 1) return rowsView(b, c.constants, name, whole, { start, size });
  view(b, c.constants, name, whole);
  const run = commonDivisor(vocabulary, commonDivisor(start, size));
  if (run < LEAST_RUN) return sliceAxis(b, name, 1, start, start + size);
  const [rows] = whole.dims;
  const runs = b.reshape(name, [rows, vocabulary / run, run]);
  const numbers = int64(
    [size / run],
    Array.from({ length: size / run }, (_, i) => start / run + i),
  );
  const wanted = view(b, c.constants, `head.runs:${start}:${run}`, numbers);
  return b.reshape(b.op("Gather", [runs, wanted], { axis: int(1) }), [rows, size]);
}

/** The run length from which gathering runs of entries costs about as much as slicing. */
const LEAST_RUN = 16;

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

function weightOf({ lowered }: ChunkContext, name: string): Tensor {
  const found = lowered.initializers.get(name);
  if (found === undefined) throw new ReferenceError(`"${name}" is not a weight of the head`);
  return found;
}

function asItIs(b: GraphBuilder, c: ChunkContext, name: string, whole: Tensor): string {
  return whole.bytes.byteLength <= SMALL_BYTES
    ? b.constant(whole)
    : view(b, c.constants, name, whole);
}

/** Feeds the rows of entries [start, start + size), with `perRow` rows each. */
function rowsView(
  b: GraphBuilder,
  constants: Map<string, Tensor>,
  name: string,
  whole: Tensor,
  { start, size, perRow = 1 }: { start: number; size: number; perRow?: number },
): string {
  const rows = rowsOf(whole, start * perRow, size * perRow);
  return view(b, constants, `${name}[${start}:${start + size}]`, rows);
}

/** Feeds a tensor under a name. */
function view(b: GraphBuilder, constants: Map<string, Tensor>, name: string, tensor: Tensor) {
  constants.set(name, tensor);
  return b.has(name) ? name : b.input(name, tensor.dtype, tensor.dims);
}

/** Scalars and other tensors up to this size are written into the graph. */
const SMALL_BYTES = 64;

/** The numbers of a chunk's rows, int32 [size]. */
function chunkRows(b: GraphBuilder, c: ChunkContext, size: number): string {
  const name = `head.rows:${size}`;
  return view(b, c.constants, name, c.constants.get(name) ?? ascending(size));
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
