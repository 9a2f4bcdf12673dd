/**
 * Shapes of a graph's values as far as they are known before a run: ranks and fixed sizes. Values whose
 * rank is only known at run time are left out.
 */
import { intsAttribute } from "../../graph/attributes.ts";
import { tensorsOf } from "../../graph/nested.ts";
import { type Asked, OTHER_OUTPUTS, type PartialShape, SHAPE_RULES } from "./shape_rules.ts";
import { elementCount, type Tensor, toNumbers } from "../../graph/tensor.ts";
import { type Graph, type Node, operatorName } from "../../graph/types.ts";

/** Facts about the values before a node. */
interface Values {
  readonly shapes: ReadonlyMap<string, PartialShape>;
  readonly constants: ReadonlyMap<string, Tensor>;
}

/** Longer lists are not lists of sizes. */
const LONGEST_LIST = 1024;

function askedOf(node: Node, { shapes, constants }: Values): Asked {
  return {
    node,
    shape: (input) => shapes.get(node.inputs[input] ?? ""),
    numbers: (input, attribute) => {
      const held = constants.get(node.inputs[input] ?? "");
      if (held === undefined) return intsAttribute(node, attribute, undefined);
      if (held.dtype !== "int64" && held.dtype !== "int32") return undefined;
      return elementCount(held.dims) <= LONGEST_LIST ? Array.from(toNumbers(held)) : undefined;
    },
  };
}

/**
 * Shapes of a graph's values as far as they are known.
 *
 * @param outer shapes of the graph around this one
 * @throws {BadInputError} for an attribute of another kind than the operator reads
 */
export function partialShapes(
  graph: Graph,
  outer: ReadonlyMap<string, PartialShape> = new Map(),
): ReadonlyMap<string, PartialShape> {
  const shapes = new Map(outer);
  const constants = tensorsOf(graph);
  const own = [...graph.initializers.keys(), ...graph.inputs.map(({ name }) => name)];
  for (const name of [...own, ...graph.nodes.flatMap(({ outputs }) => outputs)]) {
    shapes.delete(name);
  }
  for (const { name, type } of graph.inputs) {
    if (type?.shape === undefined) continue;
    shapes.set(name, type.shape.map((dim) => typeof dim === "number" ? dim : undefined));
  }
  for (const [name, { dims }] of graph.initializers) shapes.set(name, dims);
  for (const node of graph.nodes) {
    const operator = operatorName(node);
    const first = SHAPE_RULES.get(operator)?.(askedOf(node, { shapes, constants }));
    if (first === undefined) continue;
    for (const [position, output] of node.outputs.entries()) {
      const shape = position === 0 ? first : OTHER_OUTPUTS.get(operator)?.(first, position);
      if (output !== "" && shape !== undefined) shapes.set(output, shape);
    }
  }
  return shapes;
}
