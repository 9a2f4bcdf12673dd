/** The nodes of a subgraph, which replace the node that holds it. */
import { BadInputError } from "../errors.ts";
import { tensorValue } from "../graph/attributes.ts";
import { elementCount, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { label, unsupported } from "./args.ts";
import type { Inlining } from "./types.ts";

/** Renames a value. */
type Rename = (name: string) => string;

/** A subgraph of a node; throws a `BadInputError` if it has none of that name. */
export function subgraphOf(node: Node, name: string): Graph {
  const found = node.attributes[name];
  if (found?.kind !== "graph") throw new BadInputError(`${label(node)} needs attribute "${name}"`);
  return found.value;
}

/** Prefix for the names of a node's inlined values, so that none clash with others. */
export function prefixOf(node: Node): string {
  return `${node.name || node.outputs.find((name) => name !== "")}/`;
}

/** A node that computes one value from others. */
export function made(
  opType: string,
  inputs: readonly string[],
  output: string,
  attributes: Node["attributes"] = {},
): Node {
  return { name: `${output}/${opType}`, opType, domain: "", inputs, outputs: [output], attributes };
}

/** A node that defines a constant. */
export function constant(value: Tensor, output: string): Node {
  return made("Constant", [], output, { value: tensorValue(value) });
}

/** A subgraph that is inserted, once or several times, into the graph around it. */
export class Body {
  /** Its constants, which are the same each time. */
  readonly constants: readonly Node[];
  readonly #graph: Graph;
  readonly #prefix: string;
  readonly #constantNames: ReadonlySet<string>;
  readonly #nodes: readonly Node[];
  readonly #computed: ReadonlySet<string>;

  /** @param prefix prefix of the names of the constants */
  constructor(graph: Graph, prefix: string) {
    this.#graph = graph;
    this.#prefix = prefix;
    const isConstant = ({ opType, domain }: Node) => opType === "Constant" && domain === "";
    const held = graph.nodes.filter(isConstant);
    this.#constantNames = new Set([
      ...graph.initializers.keys(),
      ...held.flatMap(({ outputs }) => outputs),
    ]);
    this.constants = [
      ...Array.from(graph.initializers, ([name, value]) => constant(value, prefix + name)),
      ...held.map((node) => ({
        ...node,
        name: prefix + node.name,
        outputs: node.outputs.map((name) => prefix + name),
      })),
    ];
    this.#nodes = graph.nodes.filter((node) => !isConstant(node));
    this.#computed = new Set(this.#nodes.flatMap(({ outputs }) => outputs));
  }

  /**
   * The subgraph's other nodes.
   *
   * @param prefix prefix of the names of computed values; those from outside keep theirs
   * @param given the values that replace its inputs, in order
   */
  nodes(
    prefix: string,
    given: readonly string[] = [],
  ): { readonly nodes: readonly Node[]; readonly outputs: readonly string[] } {
    const inputs = new Map(this.#graph.inputs.map(({ name }, i) => [name, given[i]]));
    const rename = (name: string) => {
      if (name === "") return name;
      if (this.#constantNames.has(name)) return this.#prefix + name;
      return this.#computed.has(name) ? prefix + name : inputs.get(name) ?? name;
    };
    return {
      nodes: this.#nodes.map((node) => ({
        ...renameInputs(node, rename),
        name: prefix + node.name,
        outputs: node.outputs.map(rename),
      })),
      outputs: this.#graph.outputs.map(({ name }) => rename(name)),
    };
  }
}

/** Renames what a node reads, subgraphs of its own included. */
function renameInputs(node: Node, rename: Rename): Node {
  const attributes = Object.entries(node.attributes).map(([key, attribute]) =>
    attribute.kind === "graph"
      ? [key, { kind: "graph", value: renameReads(attribute.value, rename) } as const] as const
      : [key, attribute] as const
  );
  return { ...node, inputs: node.inputs.map(rename), attributes: Object.fromEntries(attributes) };
}

/** Renames what a subgraph reads from the graph around it. */
function renameReads(graph: Graph, outer: Rename): Graph {
  const own = new Set([
    ...graph.inputs.map(({ name }) => name),
    ...graph.initializers.keys(),
    ...graph.nodes.flatMap(({ outputs }) => outputs),
  ]);
  const rename = (name: string) => own.has(name) ? name : outer(name);
  return {
    ...graph,
    nodes: graph.nodes.map((node) => renameInputs(node, rename)),
    outputs: graph.outputs.map((info) => ({ ...info, name: rename(info.name) })),
  };
}

/**
 * The single number, or flag, that a value holds.
 *
 * @throws {UnsupportedError} if it is computed from data; the message calls it `what`
 */
export function constantScalar(node: Node, at: Inlining, name: string, what: string): number {
  const { dims, value } = at.known(name);
  if (elementCount(dims) !== 1) {
    throw new RangeError(`${label(node)}: ${what} must be one value: "${name}" is [${dims}]`);
  }
  if (value === undefined) throw unsupported(node, `${what} "${name}" is computed from data`);
  return toNumbers(value)[0];
}

/**
 * Nodes that stack one value of each iteration along a new axis.
 *
 * @param declared the subgraph's output that the values are; gives the shape if there are none
 */
export function stacked(
  node: Node,
  values: readonly string[],
  axis: number,
  output: string,
  declared: Graph["outputs"][number] | undefined,
): readonly Node[] {
  if (values.length === 0) return [constant(nothing(node, axis, declared), output)];
  const single = values.map((_, i) => `${output}/${i}`);
  const axes = { axes: { kind: "ints", value: [axis] } } as const;
  return [
    ...values.map((value, i) => made("Unsqueeze", [value], single[i], axes)),
    made("Concat", single, output, { axis: { kind: "int", value: axis } }),
  ];
}

/** An empty value of a shape that a subgraph declares. */
function nothing(
  node: Node,
  axis: number,
  declared: Graph["outputs"][number] | undefined,
): Tensor {
  const { dtype, shape } = declared?.type ?? {};
  const dims = shape?.filter((dim) => typeof dim === "number");
  if (dtype === undefined || dims === undefined || dims.length !== shape?.length) {
    throw unsupported(
      node,
      `it runs no iteration, and the shape of its output "${declared?.name}" is not declared`,
    );
  }
  return { dtype, dims: dims.toSpliced(axis, 0, 0), bytes: new Uint8Array(0) };
}
