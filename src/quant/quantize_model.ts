/** Quantises the weights of a model's float linear layers, in forms that stock ORT runs. */
import { BadInputError } from "../errors.ts";
import { firstNonFinite } from "../graph/finite.ts";
import { pendingTensor } from "../graph/pending.ts";
import { tensorsOf } from "../graph/nested.ts";
import { prune } from "../graph/passes/prune.ts";
import type { Tensor } from "../graph/tensor.ts";
import { MICROSOFT, type Model, type Node } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";
import { dequantizeSlab, readValues, slabs } from "./dequantize.ts";
import { floatMatrix } from "./float_matrix.ts";
import { quantizeRows } from "./nearest.ts";
import {
  blockwiseForm,
  blockwiseQdqForm,
  canQuantize,
  type FloatLinear,
  perChannelForm,
  type QuantisedForm,
  rowsOf,
} from "./quantize_forms.ts";
import { Scratch } from "./scratch.ts";

export interface QuantizeOptions {
  /**
   * 8: `DequantizeLinear` of int8 with a scale per output channel before the `MatMul` or `Gemm`;
   * 4: `com.microsoft.MatMulNBits`, a scale per block of inputs.
   */
  readonly bits: 4 | 8;
  /** For 4 bits: `DequantizeLinear` of int4 blocks before a `MatMul` instead; default false. */
  readonly useQdq?: boolean;
  /** Inputs per scale, for 4 bits: a power of two from 16; default 32. */
  readonly blockSize?: number;
  /** MatMulNBits' `accuracy_level`: 4 computes with int8 activations; default: exact. */
  readonly accuracyLevel?: number;
  /** Weights of fewer elements stay floats; default 4096. */
  readonly minElements?: number;
}

/** The result of quantising one weight. */
export interface QuantizeReport {
  /** Name of the node. */
  readonly node: string;
  /** Name of its weight. */
  readonly weight: string;
  /** Outputs of the layer. */
  readonly rows: number;
  /** Inputs of the layer. */
  readonly cols: number;
  /** Bytes of the float weight. */
  readonly sizeBytesBefore: number;
  /** Bytes of codes, scales and zero points. */
  readonly sizeBytesAfter: number;
  /** ‖Ŵ − W‖/‖W‖. */
  readonly relativeError: number;
}

/** One weight to quantise. */
export interface QuantizeTask {
  /** The weight that it reads. */
  readonly source: Tensor;
  /** @param scratch holds the tensors until the next call with it */
  compute(
    scratch?: Scratch,
  ): { readonly tensors: ReadonlyMap<string, Tensor>; readonly report: QuantizeReport };
}

export interface QuantizePlan {
  /** The quantised model; the tasks' initializers are pending (see `src/graph/pending.ts`). */
  readonly model: Model;
  readonly tasks: readonly QuantizeTask[];
}

/**
 * Plans the quantisation of linear layers with float weights.
 *
 * @param linears the layers to quantise, as `findModules` gives them; quantised and small ones are not
 *   changed
 * @throws {BadInputError} if the model's operator set lacks what the form needs; the tasks throw
 *   one for a weight that is not finite
 */
export function planQuantize(
  model: Model,
  linears: readonly FloatLinear[],
  options: QuantizeOptions,
): QuantizePlan {
  const { bits, blockSize = 32, minElements = 4096 } = options;
  const { irVersion, opsets: { "": opset = 1 } } = model;
  if (bits === 4 && !(blockSize >= 16 && (blockSize & (blockSize - 1)) === 0)) {
    throw new RangeError(
      `A block size must be a power of two of at least 16: current value is ${blockSize}`,
    );
  }
  const stored = tensorsOf(model.graph);
  const initializers = new Map(model.graph.initializers);
  const replaced = new Map<Node, readonly Node[]>();
  const tasks: QuantizeTask[] = [];
  for (const linear of linears) {
    const weight = stored.get(linear.weight);
    const small = linear.inFeatures * rowsOf(linear) < minElements;
    // Slices of a fused layer come one by one; the first one represents the whole layer.
    const done = replaced.has(linear.node);
    if (weight === undefined || done || small || !canQuantize(linear)) continue;
    const form = bits === 8
      ? perChannelForm(linear, opset)
      : options.useQdq
      ? blockwiseQdqForm(linear, blockSize, { opset, irVersion })
      : blockwiseForm(linear, blockSize, options.accuracyLevel);
    // Layers that share a weight share its codes, if they read it in the same orientation.
    const known = initializers.get(form.names.codes);
    if (known !== undefined && String(known.dims) !== String(form.types.codes[1])) continue;
    replaced.set(linear.node, form.nodes);
    if (known !== undefined) continue;
    initializers.set(form.names.codes, pendingTensor(...form.types.codes));
    initializers.set(form.names.scales, pendingTensor(...form.types.scales));
    tasks.push({
      source: weight,
      compute: (scratch) => quantize(linear, weight, form, scratch),
    });
  }
  const nodes = model.graph.nodes.flatMap((node) => replaced.get(node) ?? [node]);
  const inputs = new Set(model.graph.inputs.map(({ name }) => name));
  const usesMicrosoft = bits === 4 && !options.useQdq && tasks.length > 0;
  const opsets = usesMicrosoft ? { [MICROSOFT]: 1, ...model.opsets } : model.opsets;
  const graph = verify(prune({ ...model.graph, nodes, initializers }, inputs), "quantizeModel()");
  return { model: { ...model, opsets, graph }, tasks };
}

function quantize(
  linear: FloatLinear,
  weight: Tensor,
  form: QuantisedForm,
  scratch = new Scratch(),
) {
  const source = floatMatrix(weight, linear.layout === "NK");
  const matrix = form.empty(scratch);
  const editor = matrix.edit(scratch);
  let [norm, error] = [0, 0];
  for (const [from, to] of slabs(source)) {
    const values = readValues(source, from, to, scratch);
    const slab = quantizeRows(matrix, from, values, scratch);
    editor.write(slab);
    const stored = dequantizeSlab(matrix.grid, slab, scratch.float32("stored", values.length));
    for (let i = 0; i < values.length; i++) {
      norm += values[i] * values[i];
      error += (stored[i] - values[i]) ** 2;
    }
  }
  if (!Number.isFinite(norm)) {
    throw new BadInputError(
      `Cannot quantise "${linear.weight}": element ${firstNonFinite(weight)} is NaN or infinite`,
    );
  }
  const { codes, scales } = editor.tensors();
  const report: QuantizeReport = {
    node: linear.node.name,
    weight: linear.weight,
    rows: matrix.rows,
    cols: matrix.cols,
    sizeBytesBefore: weight.bytes.byteLength,
    sizeBytesAfter: codes.bytes.byteLength + scales!.bytes.byteLength,
    relativeError: norm > 0 ? Math.sqrt(error / norm) : 0,
  };
  return {
    tensors: new Map([[form.names.codes, codes], [form.names.scales, scales!]]),
    report,
  };
}
