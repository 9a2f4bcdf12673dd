/**
 * Rewrites a graph that computes in float16 or bfloat16 to float32: gradients need it, and all operators of a
 * derivative have float32 kernels.
 *
 * Weights remain the bytes of the file, and a Cast precedes each node that reads one. Smaller tensors are
 * widened once: vectors, the scales of quantised weights, rotary tables.
 */
import { dataTypeOf, ONNX_TYPE } from "../graph/dtype.ts";
import { int } from "../graph/attributes.ts";
import { elementCount, float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Attribute, Graph, Node } from "../graph/types.ts";
import { inputsBesideWeights } from "../ops/schema/quantization.ts";

/** Whether this pass replaces a type. */
export const isHalf = (dtype: string | undefined): boolean =>
  dtype === "float16" || dtype === "bfloat16";

/** Tensors up to this many elements are widened whatever reads them: vectors of a layer's width. */
const SMALL = 1 << 16;

/** One copy for all plans of a model. */
const WIDENED = new WeakMap<Tensor, Tensor>();

function widened(value: Tensor): Tensor {
  let found = WIDENED.get(value);
  if (found === undefined) {
    found = float32(value.dims, Float32Array.from(toNumbers(value)));
    WIDENED.set(value, found);
  }
  return found;
}

/** Whether a graph computes in half precision anywhere, its subgraphs included. */
export function hasFloat16(graph: Graph): boolean {
  return graph.inputs.some(({ type }) => isHalf(type?.dtype)) ||
    [...graph.initializers.values()].some(({ dtype }) => isHalf(dtype)) ||
    graph.nodes.some(({ attributes }) =>
      Object.entries(attributes).some(([name, attribute]) =>
        attribute.kind === "graph"
          ? hasFloat16(attribute.value)
          : wideAttribute(name, attribute) !== attribute
      )
    );
}

/** The graph in float32; the same graph where nothing in it is in half precision. */
export function inFullPrecision(graph: Graph): Graph {
  return hasFloat16(graph) ? new Widening(graph).graph() : graph;
}

class Widening {
  readonly #source: Graph;
  readonly #initializers: Map<string, Tensor>;
  readonly #casts: Node[] = [];
  /** Names under which widened weights are read. */
  readonly #names = new Map<string, string>();

  constructor(source: Graph) {
    this.#source = source;
    this.#initializers = new Map(source.initializers);
    const parameters = new Set(source.nodes.flatMap(parametersOf));
    for (const [name, value] of source.initializers) {
      if (!isHalf(value.dtype)) continue;
      if (parameters.has(name) || elementCount(value.dims) <= SMALL) {
        this.#initializers.set(name, widened(value));
      } else this.#cast(name);
    }
  }

  graph(): Graph {
    const wide = this.#widenGraph(this.#source, this.#initializers);
    return { ...wide, nodes: [...this.#casts, ...wide.nodes] };
  }

  #cast(name: string): void {
    const output = `${name}.float32`;
    this.#names.set(name, output);
    this.#casts.push({
      name: output,
      opType: "Cast",
      domain: "",
      inputs: [name],
      outputs: [output],
      attributes: { to: int(ONNX_TYPE.float32) },
    });
  }

  #widenGraph(graph: Graph, initializers: ReadonlyMap<string, Tensor>): Graph {
    return {
      ...graph,
      inputs: graph.inputs.map(inFloat32),
      outputs: graph.outputs.map(inFloat32),
      initializers,
      nodes: graph.nodes.map((node) => this.#widenNode(node)),
      valueInfo: new Map(),
    };
  }

  #widenNode(node: Node): Node {
    const attributes = Object.fromEntries(
      Object.entries(node.attributes).map(([name, attribute]) => [
        name,
        attribute.kind === "graph"
          ? { ...attribute, value: this.#branch(attribute.value) }
          : wideAttribute(name, attribute),
      ]),
    );
    const inputs = node.inputs.map((name) => this.#names.get(name) ?? name);
    return { ...node, inputs, attributes, rest: undefined };
  }

  /** The initializers of a branch are small. */
  #branch(graph: Graph): Graph {
    const own = [...graph.initializers].map(([name, value]) =>
      [name, isHalf(value.dtype) ? widened(value) : value] as const
    );
    return this.#widenGraph(graph, new Map(own));
  }
}

/** The inputs of a node that are not its weight: scales, zero points, rotary tables. */
function parametersOf(node: Node): readonly string[] {
  return inputsBesideWeights(node).flatMap((i) => node.inputs[i] ? [node.inputs[i]] : []);
}

function inFloat32<T extends Graph["inputs"][number]>(value: T): T {
  if (value.type === undefined || !isHalf(value.type.dtype)) return value;
  return { ...value, type: { ...value.type, dtype: "float32" } };
}

/** The attribute with any half precision replaced; the same attribute where it has none. */
function wideAttribute(name: string, attribute: Attribute): Attribute {
  if (attribute.kind === "tensor" && isHalf(attribute.value.dtype)) {
    return { ...attribute, value: widened(attribute.value) };
  }
  const asked = attribute.kind === "int" && (name === "to" || name === "output_dtype");
  return asked && isHalf(dataTypeOf(attribute.value)) ? int(ONNX_TYPE.float32) : attribute;
}
