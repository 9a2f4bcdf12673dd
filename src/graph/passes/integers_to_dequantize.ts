/**
 * Rewrites layers over dynamically rounded activations (`DynamicQuantizeLinear`, `MatMulInteger`, as
 * ONNX Runtime's dynamic quantiser writes them) as `DequantizeLinear` of the weights and `MatMul`:
 * TensorRT accepts int8 weights in this form, and no rounding with a scale computed at run time.
 * Activations are not rounded, so that the results are those of the dequantised weights.
 *
 * Sources: ONNX's DequantizeLinear-13; NVIDIA's "Working with Quantized Types".
 */
import { int } from "../attributes.ts";
import { dequantizeNode } from "../dequantize_node.ts";
import { producersOf, readersOf } from "../facts.ts";
import type { Tensor } from "../tensor.ts";
import type { Graph, Model, Node } from "../types.ts";
import { verify } from "../verify.ts";
import { prune } from "./prune.ts";

/** First operator set whose DequantizeLinear accepts a scale per column. */
const SCALE_PER_COLUMN = 13;
/** Zero point of uint8 codes that represent int8 values. */
const MIDDLE = 0x80;

/** The rewritten model; layers whose weights have another zero point than 0 are not changed. */
export function integersToDequantize(model: Model): Model {
  if ((model.opsets[""] ?? 0) < SCALE_PER_COLUMN) return model;
  const { graph } = model;
  const found = layersOf(graph);
  if (found.length === 0) return model;
  const initializers = new Map(graph.initializers);
  const instead = new Map(found.map((layer) => [layer.last, rewritten(layer, initializers)]));
  const nodes = graph.nodes.flatMap((node) => instead.get(node) ?? [node]);
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  const sound = verify({ ...graph, nodes, initializers }, "integersToDequantize()");
  return { ...model, graph: prune(sound, inputs) };
}

/** `DynamicQuantizeLinear → MatMulInteger → Cast → Mul`. */
interface Layer {
  /** The value that is rounded. */
  readonly x: string;
  readonly codes: string;
  readonly weight: Tensor;
  readonly scales: string;
  readonly last: Node;
}

function layersOf(graph: Graph): readonly Layer[] {
  const producers = producersOf(graph.nodes);
  const readers = readersOf(graph);
  const onlyReader = (value: string, opType: string) => {
    const [reader, ...others] = readers.get(value) ?? [];
    return others.length === 0 && reader?.opType === opType ? reader : undefined;
  };
  return graph.nodes.flatMap((node): Layer[] => {
    if (node.opType !== "MatMulInteger" || node.domain !== "") return [];
    const [rounded, codes, , zero = ""] = node.inputs;
    const quantiser = producers.get(rounded);
    const weight = graph.initializers.get(codes);
    const cast = onlyReader(node.outputs[0], "Cast");
    const last = cast && onlyReader(cast.outputs[0], "Mul");
    if (quantiser?.opType !== "DynamicQuantizeLinear" || weight === undefined || !last) return [];
    if (weight.dims.length !== 2 || !isAround(zero, weight, graph.initializers)) return [];
    const factor = producers.get(last.inputs.find((value) => value !== cast.outputs[0]) ?? "");
    const scales = factor?.inputs.find((value) => value !== quantiser.outputs[1]) ?? "";
    const known = graph.initializers.get(scales);
    if (factor?.opType !== "Mul" || known === undefined || known.dims.length > 1) return [];
    return [{ x: quantiser.inputs[0], codes, weight, scales, last }];
  });
}

/** Whether int8 codes have zero point 0, or uint8 codes the middle. */
function isAround(
  zero: string,
  { dtype }: Tensor,
  initializers: ReadonlyMap<string, Tensor>,
): boolean {
  const middle = dtype === "int8" ? 0 : dtype === "uint8" ? MIDDLE : undefined;
  if (zero === "") return middle === 0;
  return initializers.get(zero)?.bytes.every((byte) => byte === middle) ?? false;
}

/** @param initializers gets the constants that the nodes read */
function rewritten(
  { x, codes, weight, scales, last }: Layer,
  initializers: Map<string, Tensor>,
): readonly Node[] {
  const signed = weight.dtype === "int8" ? codes : `${codes}.int8`;
  if (signed !== codes) {
    const bytes = weight.bytes.map((byte) => byte ^ MIDDLE);
    initializers.set(signed, { dtype: "int8", dims: weight.dims, bytes });
  }
  const dequantize = dequantizeNode(last, [signed, scales], { axis: int(1) });
  return [
    dequantize,
    { ...last, opType: "MatMul", inputs: [x, dequantize.outputs[0]], attributes: {} },
  ];
}
