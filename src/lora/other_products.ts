/** Finds products with weights of the file that cannot have an adapter. */
import { elementCount } from "../graph/tensor.ts";
import { constantValues } from "../graph/passes/constants.ts";
import type { Model, Node } from "../graph/types.ts";
import { kindOf } from "../ops/registry.ts";
import { indexGraph, preparing } from "./graph_index.ts";
import { callsOf, type LinearModule } from "./modules.ts";

/** Least number of elements of a weight; rotary tables, for example, have fewer. */
const LEAST_ELEMENTS = 1024;

/**
 * Products of activations with constants that {@linkcode findModules} does not recognise as linear
 * layers, because of other nodes between the file's weight and the product.
 */
export function otherProducts(model: Model, modules: readonly LinearModule[]): readonly Node[] {
  const index = indexGraph(model.graph);
  const constants = constantValues(model.graph);
  const known = new Set(modules.flatMap((module) => callsOf(module).map(({ node }) => node)));
  const sizeOf = (value: string): number => {
    const behind = Array.from(preparing(index, value), ({ inputs: [source] }) => source);
    const constant = [value, ...behind].map(index.constant).find((found) => found !== undefined);
    return constant === undefined ? 0 : elementCount(constant.dims);
  };
  return model.graph.nodes.filter((node) =>
    kindOf(node) === "product" && !known.has(node) && constants.has(node.inputs[1]) &&
    !constants.has(node.inputs[0]) && sizeOf(node.inputs[1]) >= LEAST_ELEMENTS
  );
}
