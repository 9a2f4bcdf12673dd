/**
 * A call's graph over a batch's sizes. With names in place of the sizes, one compiled session computes it at
 * every batch; with numbers in their place, it is the graph of one batch.
 */
import { boundGraph } from "../graph/bind_graph.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { extentsOf, isSized } from "../graph/extents.ts";
import { digestOfText, shapeText, textOf } from "../graph/graph_text.ts";
import type { BoundSizes, Size } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Dim, Graph, ValueInfo } from "../graph/types.ts";
import { inferTraining } from "../ops/registry.ts";

/** A call's graph over sizes. */
export interface CallGraph {
  readonly graph: Graph;
  /** The inputs that follow from a batch's sizes, by name. */
  readonly sized: ReadonlyMap<string, Tensor>;
}

/** The graph with what follows from sizes as constants. */
export function wholeGraph({ graph, sized }: CallGraph): Graph {
  if (sized.size === 0) return graph;
  return {
    ...graph,
    inputs: graph.inputs.filter(({ name }) => !sized.has(name)),
    initializers: new Map([...graph.initializers, ...sized]),
  };
}

/** The inverse of {@linkcode wholeGraph}: constants that follow from sizes become inputs. */
export function apartFromSized(whole: Graph): CallGraph {
  const sized = new Map([...whole.initializers].filter(([, value]) => isSized(value)));
  const inputs = [...sized].map(([name, { dtype, dims }]) => ({
    name,
    type: { dtype, shape: dims },
  }));
  const initializers = [...whole.initializers].filter(([name]) => !sized.has(name));
  return {
    graph: {
      ...whole,
      inputs: [...whole.inputs, ...inputs],
      initializers: new Map(initializers),
    },
    sized,
  };
}

/** The graph at one batch: shapes are numbers, and what follows from sizes is among the constants. */
export function graphAt(call: CallGraph, sizes: BoundSizes): Graph {
  return boundGraph(wholeGraph(call), sizes);
}

/** Whether anything in a call's graph follows from sizes. */
export function isOverSizes({ graph: { inputs, outputs }, sized }: CallGraph): boolean {
  const hasSizes = ({ type }: ValueInfo) => extentsOf(shapeOf(type)) !== shapeOf(type);
  return sized.size > 0 || inputs.some(hasSizes) || outputs.some(hasSizes);
}

/** Types and shapes of the values that a graph's nodes compute, except its outputs. */
export function innerValues(graph: Graph): ReadonlyMap<string, ValueInfo> {
  const known = knownValues(graph);
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const inner = graph.nodes.flatMap((node) => node.outputs)
    .filter((name) => name !== "" && !outputs.has(name));
  return new Map(inner.map((name) => {
    const { dtype, dims } = known.known(name);
    return [name, { name, type: { dtype, shape: dims } }];
  }));
}

/** Types and shapes of all values. */
export function knownValues(graph: Graph): GraphBuilder {
  const b = new GraphBuilder(inferTraining);
  for (const { name, type } of graph.inputs) b.input(name, type!.dtype, shapeOf(type));
  for (const [name, value] of graph.initializers) b.initializer(name, value);
  for (const node of graph.nodes) b.add(node);
  return b;
}

/**
 * The graph with names in place of sizes. The runtime puts a value in the memory of a dead one of the same
 * shape, and compares shapes by these names.
 */
export function withNamedSizes(graph: Graph): Graph {
  const names = new Map<Size, string>();
  const nameOf = (size: Size) => {
    let name = names.get(size);
    if (name === undefined) names.set(size, name = `size${names.size}`);
    return name;
  };
  const info = (given: ValueInfo): ValueInfo => {
    const { name, type } = given;
    const shape = shapeOf(type);
    const extents = extentsOf(shape);
    if (extents === shape) return given;
    const named = extents.map((extent): Dim =>
      typeof extent === "number" ? extent : nameOf(extent)
    );
    return { name, type: { dtype: type!.dtype, shape: named } };
  };
  return {
    ...graph,
    inputs: graph.inputs.map(info),
    outputs: graph.outputs.map(info),
    valueInfo: new Map([...graph.valueInfo].map(([name, value]) => [name, info(value)])),
  };
}

/** Equal for the graphs of calls that can share a compiled session. */
export function keyOfCall(graph: Graph): string {
  const named = withNamedSizes(graph);
  const shape = ({ name, type }: ValueInfo) => `${name} [${type!.shape}]`;
  return digestOfText(
    [textOf(named), ...named.outputs.map(shape), ...[...named.valueInfo.values()].map(shape)]
      .join("\n"),
  );
}

/** A call's shapes as text: equal where they are equal at every batch. */
export function shapesOfCall({ inputs, outputs }: Graph): string {
  return [...inputs, ...outputs].map(({ type }) => `[${shapeText(shapeOf(type))}]`).join();
}

const shapeOf = (type: ValueInfo["type"]) => type!.shape as readonly number[];
