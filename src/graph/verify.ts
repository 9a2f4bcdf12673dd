/** Checks graphs: when they are read from files, after edits, and in tests after every pass. */
import { byteLength } from "./dtype.ts";
import { extentsOf, sizesIn } from "./extents.ts";
import { weightOf } from "./parameter.ts";
import { isPending } from "./pending.ts";
import { elementCount, type Tensor } from "./tensor.ts";
import { type Graph, type Node, operatorName, type ValueInfo } from "./types.ts";

const label = (node: Node, index: number) =>
  `node ${index} (${operatorName(node)} "${node.name || node.outputs.join()}")`;

/** Names that a graph defines, linked to those of the graphs around it. */
interface Scope {
  readonly names: ReadonlySet<string>;
  readonly outer?: Scope;
}

function visible(name: string, scope: Scope | undefined): boolean {
  for (let at = scope; at !== undefined; at = at.outer) if (at.names.has(name)) return true;
  return false;
}

function initializerProblem(name: string, value: Tensor): string | undefined {
  const sizes = sizesIn(value.dims, [value]);
  // What follows from a batch's sizes is checked at the sizes at hand, which decides nothing.
  return sizes === undefined
    ? tensorProblem(name, value)
    : sizes.under(() => tensorProblem(name, value));
}

function tensorProblem(name: string, value: Tensor): string | undefined {
  const bad = value.dims.find((dim) => !Number.isSafeInteger(dim) || dim < 0);
  if (bad !== undefined) {
    return `initializer "${name}" has a dimension that is not a size: current value is ${bad}`;
  }
  if (value.dtype === "string" || isPending(value)) return undefined;
  const expected = byteLength(value.dtype, elementCount(value.dims));
  if (expected === value.bytes.byteLength) return undefined;
  return `initializer "${name}" of ${value.dtype}[${value.dims}] needs ${expected} bytes: current value is ${value.bytes.byteLength}`;
}

function shapeProblem(place: string, value: ValueInfo): string | undefined {
  if (value.name === "") return `${place} has no name`;
  const shape = extentsOf((value.type?.shape ?? []) as readonly number[]);
  const bad = shape.find((dim) =>
    typeof dim === "number" && (!Number.isSafeInteger(dim) || dim < 0)
  );
  if (bad === undefined) return undefined;
  return `${place} "${value.name}" has a dimension that is not a size: current value is ${bad}`;
}

/**
 * Describes the first problem of a graph, or returns `undefined` for a valid one: every value is defined
 * once and before its first reader (subgraphs may read the graphs around them), every output is defined,
 * and every initializer has the bytes that its type and dimensions require, unless they are computed
 * later.
 */
export function graphProblem(graph: Graph, outer?: { readonly names: ReadonlySet<string> }):
  | string
  | undefined {
  const names = new Set<string>();
  const scope: Scope = { names, outer };
  for (const [i, input] of graph.inputs.entries()) {
    const problem = shapeProblem(`input ${i}`, input);
    if (problem !== undefined) return problem;
    if (names.has(input.name)) return `two inputs are named "${input.name}"`;
    names.add(input.name);
  }
  for (const [name, value] of graph.initializers) {
    if (name === "") return "an initializer has no name";
    const problem = initializerProblem(name, weightOf(value));
    if (problem !== undefined) return problem;
    // An initializer under an input's name is that input's default: ONNX allows it.
    names.add(name);
  }
  for (const [i, node] of graph.nodes.entries()) {
    if (node.opType === "") return `node ${i} ("${node.name}") has no operator type`;
    for (const name of node.inputs) {
      if (name !== "" && !visible(name, scope)) {
        return `${label(node, i)} reads "${name}", which nothing before it defines`;
      }
    }
    for (const [key, attribute] of Object.entries(node.attributes)) {
      if (attribute.kind !== "graph") continue;
      const problem = graphProblem(attribute.value, scope);
      if (problem !== undefined) return `${label(node, i)}, subgraph "${key}": ${problem}`;
    }
    for (const name of node.outputs) {
      if (name === "") continue;
      if (names.has(name)) return `${label(node, i)} defines "${name}", which is already defined`;
      names.add(name);
    }
  }
  const outputs = new Set<string>();
  for (const [i, output] of graph.outputs.entries()) {
    const problem = shapeProblem(`output ${i}`, output);
    if (problem !== undefined) return problem;
    if (!visible(output.name, scope)) return `output "${output.name}" is never defined`;
    if (outputs.has(output.name)) return `two outputs are named "${output.name}"`;
    outputs.add(output.name);
  }
  for (const value of graph.valueInfo.values()) {
    const problem = shapeProblem("annotation", value);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/**
 * Returns the given graph if it is valid. Every edit of a user's graph ends with it, except those that build
 * the graph with a `GraphBuilder`, which refuses invalid nodes; tests check the result of each planning pass
 * (`plan/planning_pass.ts`).
 *
 * @param where the pass that returned the graph, for the message
 * @param given values that the graph may read without defining them
 * @throws {Error} naming the pass and the first problem; it is a bug in that pass.
 */
export function verify(graph: Graph, where: string, given?: ReadonlySet<string>): Graph {
  const problem = graphProblem(graph, given && { names: given });
  if (problem !== undefined) throw new Error(`${where} made an unsound graph: ${problem}`);
  return graph;
}
