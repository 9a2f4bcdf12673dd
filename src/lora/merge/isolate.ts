/** Ensures that a merge into one layer affects no other reader of its tensors. */
import { prune } from "../../graph/passes/prune.ts";
import type { Graph, Model, Node } from "../../graph/types.ts";
import { BadInputError } from "../../errors.ts";
import { GraphEdit } from "../edit.ts";
import { type GraphIndex, indexGraph, preparing } from "../graph_index.ts";
import type { IntegerBias, LinearForm } from "../linear_form.ts";
import { callsOf, findModules, type LinearModule } from "../modules.ts";
import { splitShared } from "../split_shared.ts";

/** A model and its linear modules by path. */
export interface Modules {
  readonly model: Model;
  readonly byPath: ReadonlyMap<string, LinearModule>;
  readonly index: GraphIndex;
}

/** The modules of a model; ambiguous names are refused, because a merge must change exactly one layer. */
export function modulesOf(model: Model): Modules {
  const byPath = new Map(findModules(model).map((module) => [module.path, module]));
  return { model, byPath, index: indexGraph(model.graph) };
}

/** Tensors of a layer that a merge may rewrite. */
export type LayerPart =
  | "weight"
  | "scales"
  | "zeroPoints"
  | "bias"
  | "integerBias.codes"
  | "integerBias.scales";

/**
 * Gives the layer at `path` separate tensors: weights from `Constant` nodes become initializers, and
 * initializers with other readers are copied (SmolLM2's head is also its embedding).
 *
 * @throws {BadInputError} if a computed weight, not an initializer, is shared
 */
export function isolate(modules: Modules, path: string, parts: readonly LayerPart[]): Modules {
  let now = withOwnChain(modules, path);
  for (const part of parts) {
    const module = moduleAt(now, path);
    const name = tensorOf(module, module, part);
    if (name === undefined) continue;
    const lifted = liftConstant(now, name);
    const index = lifted === now.model ? now.index : indexGraph(lifted.graph);
    const readers = callsOf(module).flatMap((call) => {
      const own = tensorOf(module, call, part)!;
      return readersOf(index, module, call, own).map((node) => ({ own, node }));
    });
    const joined = readAlike(lifted, name, readers);
    const nodes = joined.graph.nodes.filter(({ outputs }) =>
      readers.some(({ node }) => node.outputs[0] === outputs[0])
    );
    const split = splitShared(joined, name, nodes).model;
    if (split !== now.model) now = modulesOf(split);
  }
  return now;
}

/**
 * The model with separate nodes between the file's weight and the layer's product, if the results of
 * these nodes have other readers: a head and an embedding may read one DequantizeLinear.
 */
function withOwnChain(modules: Modules, path: string): Modules {
  const { model, index } = modules;
  const { node: product, again, kind } = moduleAt(modules, path);
  if (again !== undefined || kind === "MatMulInteger") return modules;
  const chain = [...preparing(index, product.inputs[1])].reverse();
  const isShared = ({ domain, outputs: [output] }: Node) =>
    domain === "" && (index.consumers(output).length > 1 || index.isOutput(output));
  if (!chain.some(isShared)) return modules;
  const edit = new GraphEdit(model.graph);
  /** The value that the layer read from the last shared node, and its replacement. */
  let [read, own]: [string, string] = ["", ""];
  for (const node of chain) {
    const [output] = node.outputs;
    if (isShared(node)) {
      const inputs = node.inputs.map((input) => input === read ? own : input);
      own = edit.add(node, node.opType, inputs, edit.freeName(`${output}.own`), node.attributes);
      read = output;
    } else if (read !== own) {
      edit.renameInput(node, read, own);
      [read, own] = ["", ""];
    }
  }
  if (read !== own) edit.renameInput(product, read, own);
  return modulesOf(edit.apply(model));
}

/**
 * The bias that is rounded again beside a weight with other scales; each call of a layer would need its
 * own.
 */
export function ownIntegerBias({ integerBias, again }: LinearModule): IntegerBias | undefined {
  return again === undefined ? integerBias : undefined;
}

/** @param call of the module */
function tensorOf(module: LinearModule, call: LinearForm, part: LayerPart): string | undefined {
  switch (part) {
    case "bias":
      return call.bias?.weight;
    case "integerBias.codes":
      return ownIntegerBias(module)?.codes;
    case "integerBias.scales":
      return ownIntegerBias(module)?.scales;
    default:
      return call[part];
  }
}

/** Makes all calls of a layer whose weight was written several times read the first copy. */
function readAlike(
  model: Model,
  name: string,
  readers: readonly { readonly own: string; readonly node: Node }[],
): Model {
  const others = readers.filter(({ own }) => own !== name);
  if (others.length === 0) return model;
  const edit = new GraphEdit(model.graph);
  for (const { own, node } of others) edit.renameInput(node, own, name);
  const { graph } = edit.apply(model);
  const kept = new Set(graph.inputs.map((input) => input.name));
  return { ...model, graph: prune(graph, kept) };
}

/** @throws {BadInputError} if the model has no such module */
export function moduleAt({ byPath }: Modules, path: string): LinearModule {
  const found = byPath.get(path);
  if (found !== undefined) return found;
  throw new BadInputError(
    `Cannot merge into "${path}": this model has no such linear layer; it has ${
      [...byPath.keys()].slice(0, 8).join(", ")
    }${byPath.size > 8 ? ", …" : ""}`,
  );
}

/** Replaces the `Constant` node of `name` by an initializer of that name. */
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

/**
 * The nodes that read an initializer for a call of a module: one, or two for the scales of weights that
 * the graph rounds and dequantises.
 */
function readersOf(
  index: GraphIndex,
  module: LinearModule,
  call: LinearForm,
  name: string,
): readonly Node[] {
  const readers = index.consumers(name);
  const own = [...chainOf(index, module, call)].filter((node) => readers.includes(node));
  if (own.length === 0) throw new RangeError(`No node of "${module.path}" reads "${name}"`);
  return own;
}

/**
 * The nodes between a module's initializers and its output: itself, those that prepare the stored
 * weight, the addition of its bias and, for dynamic quantisation, the product of scales.
 */
function* chainOf(index: GraphIndex, module: LinearModule, call: LinearForm): Generator<Node> {
  yield call.node;
  if (call.bias !== undefined) {
    const add = index.producer(call.bias.output);
    if (add !== undefined) yield add;
  }
  const rounded = ownIntegerBias(module) && index.producer(call.bias!.weight);
  if (rounded !== undefined) yield* unshared(index, module, rounded);
  if (call.kind === "MatMulInteger") {
    const scaled = index.producer(call.output);
    for (const input of scaled?.inputs ?? []) {
      const product = index.producer(input);
      if (product !== undefined && product.inputs.includes(call.scales!)) {
        yield* unshared(index, module, product);
      }
    }
    return;
  }
  for (const node of preparing(index, call.node.inputs[1])) yield* unshared(index, module, node);
}

function* unshared(index: GraphIndex, module: LinearModule, node: Node): Generator<Node> {
  const [output] = node.outputs;
  const readers = index.consumers(output);
  const calls = callsOf(module).map((call) => call.node);
  const alone = readers.length <= 1 || readers.every((reader) => calls.includes(reader));
  if (!alone || index.isOutput(output)) {
    throw new BadInputError(
      `Cannot merge into "${module.path}": the result of node "${node.name}" ("${output}") ` +
        "is read by other layers too",
    );
  }
  yield node;
}
