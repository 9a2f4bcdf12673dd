/** Fixtures' models in 16-bit floats, which is how hubs store many. */
import { int } from "../../src/graph/attributes.ts";
import { ONNX_TYPE } from "../../src/graph/dtype.ts";
import { float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Attribute, Model, ValueInfo } from "../../src/graph/types.ts";
import { floatTensor } from "../../src/quant/numbers.ts";

const half = (value: Tensor) =>
  value.dtype === "float32"
    ? floatTensor("float16", value.dims, Float32Array.from(toNumbers(value)))
    : value;

const rounded = (value: Tensor) =>
  value.dtype === "float32"
    ? float32(value.dims, Float32Array.from(toNumbers(half(value))))
    : value;

function withTensors(model: Model, change: (value: Tensor) => Tensor): Model {
  const initializers = new Map(
    [...model.graph.initializers].map(([name, value]) => [name, change(value)]),
  );
  const nodes = model.graph.nodes.map((node) => {
    const attributes = Object.entries(node.attributes).map(([name, attribute]) => {
      const changed: Attribute = attribute.kind === "tensor"
        ? { kind: "tensor", value: change(attribute.value) }
        : attribute;
      return [name, changed] as const;
    });
    return { ...node, attributes: Object.fromEntries(attributes), rest: undefined };
  });
  return { ...model, graph: { ...model.graph, initializers, nodes } };
}

/** The model with all its float32 rounded to what float16 can hold. */
export const roundedModel = (model: Model): Model => withTensors(model, rounded);

/** The model in float16, inputs, outputs and casts included. */
export function halfModel(model: Model): Model {
  const { graph, ...rest } = withTensors(model, half);
  const ported = (value: ValueInfo): ValueInfo =>
    value.type?.dtype === "float32"
      ? { ...value, type: { ...value.type, dtype: "float16" }, rest: undefined }
      : value;
  const nodes = graph.nodes.map((node) => {
    const { to } = node.attributes;
    if (to?.kind !== "int" || to.value !== ONNX_TYPE.float32) return node;
    return { ...node, attributes: { ...node.attributes, to: int(ONNX_TYPE.float16) } };
  });
  return {
    ...rest,
    graph: {
      ...graph,
      inputs: graph.inputs.map(ported),
      outputs: graph.outputs.map(ported),
      valueInfo: new Map([...graph.valueInfo].map(([name, value]) => [name, ported(value)])),
      nodes,
    },
  };
}
