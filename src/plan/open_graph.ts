/**
 * One graph for a call at every size: what differs between two sizes of a batch is left open.
 *
 * A call planned for two batch shapes comes out as the same nodes over other dimensions and other
 * constants. In an open graph those dimensions have names and those constants are inputs, so
 * that one compiled session serves all shapes. Whether it serves a call is looked up, never assumed:
 * every dimension and every constant of the call must fit it.
 */
import { equals } from "@std/bytes/equals";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Dim, Graph, ValueInfo } from "../graph/types.ts";
import { attributeText, bytesText } from "../graph/graph_text.ts";
import { knownValues } from "./call_memory.ts";

/** A graph some of whose dimensions are names, and some of whose constants are inputs. */
export interface OpenGraph {
  /** Inputs and outputs have the names that they have in the calls it serves. */
  readonly graph: Graph;
  /** Name of the constant at each {@linkcode SizedGraph.constants place} for one. */
  readonly constantNames: readonly string[];
}

/** A call's graph, and what opening it looks at. */
export class SizedGraph {
  /** Equal for graphs that differ in dimensions and in the contents of constants at most. */
  readonly outline: string;
  /** The initializers that nodes read, place after place. */
  readonly constants: readonly Tensor[];
  #known: GraphBuilder | undefined;

  /** @param graph of concrete shapes, as calls have it */
  constructor(readonly graph: Graph) {
    this.outline = outlineOf(graph);
    this.constants = graph.nodes.flatMap(({ inputs }) =>
      inputs.flatMap((input) => graph.initializers.get(input) ?? [])
    );
  }

  /** What is known of its values. */
  get known(): Pick<GraphBuilder, "known" | "dims"> {
    return this.#known ??= knownValues(this.graph);
  }
}

/**
 * Leaves open what differs between two graphs.
 *
 * @param here a call's graph
 * @param there the same call's graph for a batch of other sizes
 * @returns `undefined` where they differ in more than sizes
 */
export function openGraph(here: SizedGraph, there: SizedGraph): OpenGraph | undefined {
  if (here.outline !== there.outline) return undefined;
  const { graph } = here;
  const values = valuesOf(graph);
  const rank = (sized: SizedGraph, name: string) => sized.known.dims(name).length;
  if (values.some((name) => rank(here, name) !== rank(there, name))) return undefined;
  const sizes = new Numbering("size");
  const opened = (dims: readonly number[], others: readonly number[]) =>
    dims.map((dim, i): Dim => dim === others[i] ? dim : sizes.nameOf(`${dim} ${others[i]}`));
  const shapes = new Map(
    values.map((name) => [name, opened(here.known.dims(name), there.known.dims(name))]),
  );
  // What is one constant here may be two there: places, not names, say which is which.
  const constants = new Numbering("c");
  const given = new Map<string, ValueInfo>();
  const embedded = new Map<string, Tensor>();
  const constantNames = here.constants.map((value, i) => {
    const other = there.constants[i];
    const texts = [textOf(value), textOf(other)];
    const name = constants.nameOf(texts.join(" "));
    if (texts[0] === texts[1]) embedded.set(name, value);
    else {
      const shape = opened(value.dims, other.dims);
      given.set(name, { name, type: { dtype: value.dtype, shape } });
    }
    return name;
  });
  const withShape = ({ name, type }: ValueInfo): ValueInfo => ({
    name,
    type: { dtype: type!.dtype, shape: shapes.get(name)! },
  });
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const inner = graph.nodes.flatMap((node) => node.outputs)
    .filter((name) => name !== "" && !outputs.has(name));
  let place = 0;
  return {
    constantNames,
    graph: {
      ...graph,
      inputs: [...graph.inputs.map(withShape), ...given.values()],
      outputs: graph.outputs.map(withShape),
      nodes: graph.nodes.map((node) => ({
        ...node,
        inputs: node.inputs.map((input) =>
          graph.initializers.has(input) ? constantNames[place++] : input
        ),
      })),
      initializers: embedded,
      // The runtime lays a value where a dead one of the same shape was: it has to see which those are.
      valueInfo: new Map(inner.map((name) => [
        name,
        { name, type: { dtype: here.known.known(name).dtype, shape: shapes.get(name)! } },
      ])),
    },
  };
}

/**
 * The constants to feed so that an open graph computes what a call's graph does.
 *
 * @returns by name of the open graph's inputs; `undefined` where the call is not the open graph at
 *   some size
 */
export function constantsFor(
  { graph, constantNames }: OpenGraph,
  sized: SizedGraph,
): ReadonlyMap<string, Tensor> | undefined {
  const constants = new Map<string, Tensor>();
  for (const [i, value] of sized.constants.entries()) {
    const name = constantNames[i];
    const expected = graph.initializers.get(name) ?? constants.get(name);
    if (expected !== undefined && !isSame(expected, value)) return undefined;
    if (!graph.initializers.has(name)) constants.set(name, value);
  }
  const sizes = new Map<string, number>();
  const fits = ({ name, type }: ValueInfo) => {
    const dims = constants.get(name)?.dims ?? sized.known.dims(name);
    return type!.shape!.length === dims.length && type!.shape!.every((dim, i) => {
      if (typeof dim === "number") return dim === dims[i];
      if (!sizes.has(dim)) sizes.set(dim, dims[i]);
      return sizes.get(dim) === dims[i];
    });
  };
  const annotated = [...graph.inputs, ...graph.outputs, ...graph.valueInfo.values()];
  return annotated.every(fits) ? constants : undefined;
}

/** Inputs and computed values, in order. */
function valuesOf(graph: Graph): string[] {
  const computed = graph.nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ""));
  return [...graph.inputs.map(({ name }) => name), ...computed];
}

/** Names for keys, numbered in the order in which they are asked for. */
class Numbering {
  readonly #names = new Map<string, string>();

  constructor(readonly prefix: string) {}

  nameOf(key: string): string {
    let name = this.#names.get(key);
    if (name === undefined) this.#names.set(key, name = `${this.prefix}${this.#names.size}`);
    return name;
  }
}

function outlineOf(graph: Graph): string {
  const input = (name: string) => {
    const constant = graph.initializers.get(name);
    if (constant === undefined) return name;
    return `${constant.dtype} ${constant.dims.length}`;
  };
  return [
    ...graph.inputs.map(({ name, type }) => `in ${name} ${type!.dtype} ${type!.shape!.length}`),
    ...graph.nodes.map(({ opType, domain, inputs, outputs, attributes }) =>
      `${outputs} = ${domain}.${opType}(${inputs.map(input)}) ${
        Object.keys(attributes).sort().map((key) => `${key}=${attributeText(attributes[key])}`)
      }`
    ),
    `out ${graph.outputs.map(({ name }) => name)}`,
  ].join("\n");
}

function isSame(a: Tensor, b: Tensor): boolean {
  return a === b || a.dtype === b.dtype && a.dims.join() === b.dims.join() &&
      equals(a.bytes, b.bytes);
}

function textOf({ dtype, dims, bytes }: Tensor): string {
  return `${dtype}[${dims}]${bytesText(bytes)}`;
}
