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
import { inferTraining, traitsOf } from "../ops/registry.ts";

/** A call's graph over sizes. */
export interface CallGraph {
  readonly graph: Graph;
  /** The inputs that follow from a batch's sizes, by name. */
  readonly sized: ReadonlyMap<string, Tensor>;
  /** The sizes at which it runs, where these are not the batch's but those of a part of its rows. */
  readonly sizes?: BoundSizes;
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

/**
 * The graph at one batch: shapes are numbers, and what follows from sizes is among the constants.
 *
 * @param sizes of the batch
 */
export function graphAt(call: CallGraph, sizes: BoundSizes): Graph {
  return boundGraph(wholeGraph(call), call.sizes ?? sizes);
}

/** Whether anything in a call's graph follows from sizes. */
export function isOverSizes({ graph: { inputs, outputs }, sized }: CallGraph): boolean {
  return sized.size > 0 || inputs.some(isSizedValue) || outputs.some(isSizedValue);
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
 * The graph with names in place of sizes. The runtime puts a value in the memory of a dead one whose shape
 * has the same names, and holds that memory from the first value to the last, however long nothing needs it
 * in between: attention's inputs would wait for its cotangents. So the sizes of each value that a node
 * computes have names of its own, except where a kernel writes it in place of its input.
 */
export function withNamedSizes(graph: Graph): Graph {
  const names = new Map<Size, string>();
  const nameOf = (size: Size) => {
    let name = names.get(size);
    if (name === undefined) names.set(size, name = `size${names.size}`);
    return name;
  };
  const info = (given: ValueInfo, owner?: string): ValueInfo => {
    const { name, type } = given;
    if (!isSizedValue(given)) return given;
    const named = extentsOf(shapeOf(type)).map((extent): Dim => {
      if (typeof extent === "number") return extent;
      return owner === undefined ? nameOf(extent) : `${nameOf(extent)} of ${owner}`;
    });
    return { name, type: { dtype: type!.dtype, shape: named } };
  };
  const owners = memoryOwners(graph);
  return {
    ...graph,
    inputs: graph.inputs.map((value) => info(value)),
    outputs: graph.outputs.map((value) => info(value)),
    valueInfo: new Map(
      [...graph.valueInfo].map(([name, value]) => [name, info(value, owners.get(name) ?? name)]),
    ),
  };
}

/** Values that nodes compute and whose shapes follow from sizes: none takes a dead one's memory. */
export function sizedValues({ valueInfo }: Graph): ReadonlySet<string> {
  return new Set([...valueInfo.values()].filter(isSizedValue).map(({ name }) => name));
}

/** For each value that a kernel may write in place of its input: the value whose memory that is. */
function memoryOwners({ nodes, valueInfo }: Graph): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  for (const node of nodes) {
    const [from, to] = [valueInfo.get(node.inputs[0]), valueInfo.get(node.outputs[0])];
    if (from === undefined || to === undefined || traitsOf(node).memory !== "in place") continue;
    if (shapeText(shapeOf(from.type)) === shapeText(shapeOf(to.type))) {
      owners.set(to.name, owners.get(from.name) ?? from.name);
    }
  }
  return owners;
}

function isSizedValue({ type }: ValueInfo): boolean {
  const shape = shapeOf(type);
  return extentsOf(shape) !== shape;
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
