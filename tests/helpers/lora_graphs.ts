/** Small graphs in the forms that exporters and quantisers give linear layers. */
import { int } from "../../src/graph/attributes.ts";
import { float32, type Tensor, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model, Node } from "../../src/graph/types.ts";
import { tinyModel, type TinyNode } from "./ort.ts";

/** A float tensor of small, different values. */
export function floats(...dims: number[]): Tensor {
  const count = dims.reduce((a, b) => a * b, 1);
  return float32(dims, Array.from({ length: count }, (_, i) => ((i * 37) % 19 - 9) / 20));
}

/** The tensor in float16. */
export function halves(t: Tensor): Tensor {
  const values = Float16Array.from(toNumbers(t));
  return tensor("float16", t.dims, new Uint8Array(values.buffer));
}

/** An int8 tensor of small, different values. */
export function int8s(...dims: number[]): Tensor {
  const count = dims.reduce((a, b) => a * b, 1);
  return tensor(
    "int8",
    dims,
    new Uint8Array(Int8Array.from({ length: count }, (_, i) => (i * 31) % 100 - 50).buffer),
  );
}

/** A model x [n, 4] → y over some nodes; values are typed loosely, for graphs that are only looked at. */
export function graphOf(
  nodes: readonly TinyNode[],
  initializers: Readonly<Record<string, Tensor>>,
  outputs: readonly string[] = ["y"],
): Model {
  return tinyModel({
    inputs: { x: ["float32", ["n", 4]] },
    outputs: Object.fromEntries(outputs.map((name) => [name, ["float32", ["n", 4]]] as const)),
    nodes,
    initializers,
  });
}

/** The model with some nodes changed. */
export function withNodes(model: Model, change: (node: Node, i: number) => Partial<Node>): Model {
  const nodes = model.graph.nodes.map((node, i) => ({ ...node, ...change(node, i) }));
  return { ...model, graph: { ...model.graph, nodes } };
}

/** The nodes of a dynamically quantised linear: x → y with weight w [in, out]. */
export function dynamicLinear(x: string, w: string, y: string): readonly TinyNode[] {
  return [
    ["DynamicQuantizeLinear", [x], [`${y}_q`, `${y}_s`, `${y}_z`]],
    ["Mul", [`${y}_s`, `${w}_scale`], [`${y}_scale`]],
    ["MatMulInteger", [`${y}_q`, w, `${y}_z`, `${w}_zero_point`], [`${y}_i`]],
    ["Cast", [`${y}_i`], [`${y}_f`], { to: int(1) }],
    ["Mul", [`${y}_f`, `${y}_scale`], [y]],
  ];
}
