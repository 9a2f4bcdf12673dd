/** Makes sure that what a merge writes for one layer reaches no other reader. */
import type { Graph, Model, Node } from "../../graph/types.ts";
import { BadInputError } from "../../errors.ts";
import { type GraphIndex, indexGraph } from "../graph_index.ts";
import { findModules, type LinearModule } from "../modules.ts";
import { splitShared } from "../split_shared.ts";

/** A model and its linear modules by path. */
export interface Modules {
  readonly model: Model;
  readonly byPath: ReadonlyMap<string, LinearModule>;
  readonly index: GraphIndex;
}

/** The modules of a model; ambiguous names are refused, since a merge must hit exactly one layer. */
export function modulesOf(model: Model): Modules {
  const byPath = new Map(findModules(model).map((module) => [module.path, module]));
  return { model, byPath, index: indexGraph(model.graph) };
}

/** Tensors of a layer that a merge may rewrite. */
export type LayerPart = "weight" | "scales" | "zeroPoints" | "bias";

/**
 * Gives the layer at `path` some tensors of its own: weights from `Constant` nodes become initializers,
 * and initializers with other readers are copied (SmolLM2's head is also its embedding).
 *
 * @throws {BadInputError} where a computed weight, not an initializer, is shared
 */
export function isolate(modules: Modules, path: string, parts: readonly LayerPart[]): Modules {
  let now = modules;
  for (const part of parts) {
    const module = moduleAt(now, path);
    const name = part === "bias" ? module.bias?.weight : module[part];
    if (name === undefined) continue;
    const lifted = liftConstant(now, name);
    const index = lifted === now.model ? now.index : indexGraph(lifted.graph);
    const reader = readerOf(index, module, name);
    const split = splitShared(lifted, name, reader).model;
    if (split !== now.model) now = modulesOf(split);
  }
  return now;
}

/** @throws {BadInputError} where the model has no such module */
export function moduleAt({ byPath }: Modules, path: string): LinearModule {
  const found = byPath.get(path);
  if (found !== undefined) return found;
  throw new BadInputError(
    `Cannot merge into "${path}": this model has no such linear layer; it has ${
      [...byPath.keys()].slice(0, 8).join(", ")
    }${byPath.size > 8 ? ", …" : ""}`,
  );
}

/** Turns the `Constant` node that makes `name` into an initializer of that name. */
function liftConstant({ model, index }: Modules, name: string): Model {
  const { graph } = model;
  if (graph.initializers.has(name)) return model;
  const value = index.constant(name);
  const producer = index.producer(name);
  if (value === undefined) throw new BadInputError(`The graph has no constant "${name}"`);
  const lifted: Graph = {
    ...graph,
    initializers: new Map([...graph.initializers, [name, value]]),
    nodes: graph.nodes.filter((node) => node !== producer),
  };
  return { ...model, graph: lifted };
}

/** The node that reads an initializer on behalf of a module. */
function readerOf(index: GraphIndex, module: LinearModule, name: string): Node {
  const readers = index.consumers(name);
  const own = [...chainOf(index, module)].find((node) => readers.includes(node));
  if (own === undefined) throw new RangeError(`No node of "${module.path}" reads "${name}"`);
  return own;
}

/**
 * The nodes between a module's initializers and its output: itself, those that turn the stored weight
 * into the operand, the addition of its bias and, for dynamic quantisation, the product of scales.
 */
function* chainOf(index: GraphIndex, module: LinearModule): Generator<Node> {
  yield module.node;
  if (module.bias !== undefined) {
    const add = index.producer(module.bias.output);
    if (add !== undefined) yield add;
  }
  if (module.kind === "MatMulInteger") {
    const scaled = index.producer(module.output);
    for (const input of scaled?.inputs ?? []) {
      const product = index.producer(input);
      if (product !== undefined && product.inputs.includes(module.scales!)) {
        yield* unshared(index, module, product);
      }
    }
    return;
  }
  let operand = module.node.inputs[1];
  for (;;) {
    const node = index.producer(operand);
    if (node === undefined) return;
    yield* unshared(index, module, node);
    operand = node.inputs[0];
  }
}

function* unshared(index: GraphIndex, module: LinearModule, node: Node): Generator<Node> {
  const [output] = node.outputs;
  if (index.consumers(output).length > 1 || index.isOutput(output)) {
    throw new BadInputError(
      `Cannot merge into "${module.path}": the result of node "${node.name}" ("${output}") ` +
        "is read by other layers too",
    );
  }
  yield node;
}
