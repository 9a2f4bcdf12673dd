/** Replaces a quantised layer by a float one, for `--dequantize`. */
import { bitsOf, byteLength, type DataType } from "../../graph/dtype.ts";
import { floatAttention, isFusedAttention } from "../../graph/fused_attention.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { type Model, type Node, operatorName } from "../../graph/types.ts";
import { dequantizeSlab, readValues, slabs } from "../../quant/dequantize.ts";
import { floatBytes } from "../../quant/numbers.ts";
import { Scratch } from "../../quant/scratch.ts";
import type { StoredMatrix } from "../../quant/types.ts";
import { indexGraph } from "../graph_index.ts";
import type { LinearModule } from "../modules.ts";
import { addChanges, type RowChange } from "./delta.ts";
import { type MatrixReport, rounded } from "./matrix.ts";
import { withScaleChanges } from "./scale_changes.ts";
import { Sums } from "./sums.ts";

/** Target of a layer's float weight. */
export interface FloatPlace {
  readonly model: Model;
  /** The initializer to fill. */
  readonly name: string;
  readonly dtype: DataType;
  /** Whether it is [out, in] rather than [in, out]. */
  readonly outFirst: boolean;
}

/**
 * The graph with a quantised layer's operators replaced by a float `MatMul` (a `DequantizeLinear` is
 * removed), with the same node and value names. The caller declares the weight's initializer.
 */
export function replaceByFloat(model: Model, module: LinearModule): FloatPlace {
  const place = replaceCall(model, module);
  // Removed for all calls.
  if (module.kind === "DequantizeLinear") return place;
  const calls = module.again ?? [];
  return {
    ...place,
    model: calls.reduce((now, call) => replaceCall(now, { ...module, ...call }).model, place.model),
  };
}

function replaceCall(model: Model, module: LinearModule): FloatPlace {
  switch (module.kind) {
    case "MatMulNBits":
    case "MatMulBnb4":
      return fromBlocks(model, module);
    case "MatMulInteger":
      return fromInteger(model, module);
    case "DequantizeLinear":
      return fromDequantize(model, module);
    default:
      return {
        model,
        name: module.weight,
        dtype: weightOf(model, module).dtype,
        outFirst: module.layout === "NK",
      };
  }
}

function fromBlocks(model: Model, module: LinearModule): FloatPlace {
  const { node, weight } = module;
  const plain = plainProduct(module, node.inputs[0], node.outputs[0]);
  return {
    model: withNodes(model, (n) => n === node ? plain : [n]),
    name: weight,
    dtype: module.dtype,
    outFirst: false,
  };
}

function fromInteger(model: Model, module: LinearModule): FloatPlace {
  const scaled = indexGraph(model.graph).producer(module.output);
  if (scaled === undefined) throw new RangeError(`No node makes "${module.output}"`);
  const plain = isFusedAttention(module.node)
    ? [floatAttention(module.node, module.input, module.weight)]
    : plainProduct(module, module.input, module.output);
  return {
    // The quantisation of the input has no readers any more and is pruned. In ONNX Runtime's fused forms
    // both are one node.
    model: withNodes(model, (n) => n === scaled ? plain : n === module.node ? [] : [n]),
    name: module.weight,
    dtype: module.dtype,
    outFirst: false,
  };
}

/** The `MatMul` that replaces a fused product, and an `Add` if the operator added the bias. */
function plainProduct(module: LinearModule, input: string, output: string): readonly Node[] {
  const { node, weight, bias } = module;
  const fusedBias = bias?.output === module.output ? bias.weight : undefined;
  const product = fusedBias === undefined ? output : `${output}.product`;
  const plain: Node = {
    ...node,
    opType: "MatMul",
    domain: "",
    inputs: [input, weight],
    outputs: [product],
    attributes: {},
  };
  if (fusedBias === undefined) return [plain];
  const add: Node = {
    name: `${node.name}.bias`,
    opType: "Add",
    domain: "",
    inputs: [product, fusedBias],
    outputs: [output],
    attributes: {},
  };
  return [plain, add];
}

function fromDequantize(model: Model, module: LinearModule): FloatPlace {
  const index = indexGraph(model.graph);
  const readers = index.consumers(module.weight);
  const rounded = readers.filter((n) => n.opType === "QuantizeLinear");
  // The node that rounds the floats before they are dequantised has no readers any more and is pruned.
  const nodes = [...readers, ...rounded.flatMap((n) => index.consumers(n.outputs[0]))].filter((n) =>
    n.opType === "DequantizeLinear" && n.inputs[1] === module.scales
  );
  if (nodes.length === 0) {
    throw new RangeError(`No DequantizeLinear reads the weight of "${module.path}"`);
  }
  // A layer with several calls may have one for each call.
  const [name, ...others] = nodes.map(({ outputs }) => outputs[0]);
  return {
    model: withNodes(model, (n) => {
      if (nodes.includes(n)) return [];
      if (!n.inputs.some((input) => others.includes(input))) return [n];
      return [{ ...n, inputs: n.inputs.map((input) => others.includes(input) ? name : input) }];
    }),
    name,
    dtype: index.constant(module.scales!)!.dtype,
    outFirst: module.layout === "NK",
  };
}

function withNodes(model: Model, replace: (node: Node) => readonly Node[]): Model {
  return { ...model, graph: { ...model.graph, nodes: model.graph.nodes.flatMap(replace) } };
}

function weightOf(model: Model, module: LinearModule): Tensor {
  const found = model.graph.initializers.get(module.weight);
  if (found === undefined) {
    throw new RangeError(`${operatorName(module.node)} "${module.node.name}" has no initializer`);
  }
  return found;
}

/**
 * W + ΔW as floats, computed slab by slab.
 *
 * @param write receives ranges of the tensor's bytes, valid during the call, and their offsets
 */
export async function mergeToFloat(
  matrix: StoredMatrix,
  changes: readonly RowChange[],
  weight: string,
  place: Pick<FloatPlace, "dtype" | "outFirst">,
  write: (bytes: Uint8Array, offset: number) => void,
  scratch = new Scratch(),
): Promise<MatrixReport> {
  const { rows, cols } = matrix;
  const sums = new Sums(cols, undefined);
  for (const [from, to] of slabs(matrix)) {
    const base = readValues(matrix, from, to, scratch);
    const target = scratch.float32("target", base.length);
    if (matrix.kind === "float") target.set(base);
    else {
      const slab = matrix.read(from, to, scratch);
      dequantizeSlab(matrix.grid, withScaleChanges(matrix, slab, changes, scratch), target);
    }
    const changed = addChanges(target, from, to, cols, changes);
    const stored = rounded(place.dtype, target, scratch);
    await sums.add(base, target, stored, changed);
    for (let i = 0; i < stored.length; i++) if (stored[i] !== base[i]) sums.changedCodes++;
    if (place.outFirst) writeRows(stored, from * cols, place.dtype, write);
    else writeColumns(stored, from, rows, cols, place.dtype, write, scratch);
  }
  return {
    paths: changes.map(({ path }) => path),
    weight,
    rows,
    cols,
    bits: bitsOf(place.dtype),
    ...sums.report(rows * cols),
    changed: sums.changedCodes > 0,
  };
}

type WriteRange = (bytes: Uint8Array, offset: number) => void;

function writeRows(values: Float32Array, at: number, dtype: DataType, write: WriteRange): void {
  write(floatBytes(dtype, values), byteLength(dtype, at));
}

/** Writes rows of W into Wᵀ: a range for each row of Wᵀ, or a single range if the rows are complete. */
function writeColumns(
  values: Float32Array,
  from: number,
  rows: number,
  cols: number,
  dtype: DataType,
  write: WriteRange,
  scratch: Scratch,
): void {
  const count = values.length / cols;
  const transposed = scratch.float32("transposed", values.length);
  for (let n = 0; n < count; n++) {
    for (let k = 0; k < cols; k++) transposed[k * count + n] = values[n * cols + k];
  }
  if (count === rows) return writeRows(transposed, 0, dtype, write);
  for (let k = 0; k < cols; k++) {
    writeRows(transposed.subarray(k * count, (k + 1) * count), k * rows + from, dtype, write);
  }
}
