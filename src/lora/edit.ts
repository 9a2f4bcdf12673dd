/** Small edits of a user's graph: new nodes after a value, under unused names. */
import { BadInputError } from "../errors.ts";
import { freeName, valueNames } from "../graph/facts.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Attribute, Graph, Model, Node, ValueInfo } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";

/**
 * Collects changes to one graph and applies them together. Names are reserved at once, so callers see a
 * clash early and not in the runtime.
 */
export class GraphEdit {
  readonly #graph: Graph;
  readonly #taken: Set<string>;
  readonly #initializers = new Map<string, Tensor>();
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  /** New nodes by the node they follow. */
  readonly #after = new Map<Node | undefined, Node[]>();
  readonly #replaced = new Map<Node, Node>();
  /** Names that are free, or refer to other values now. */
  readonly #freed = new Set<string>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#taken = valueNames(graph);
  }

  /** Reserves a name; throws a `BadInputError` if the graph from the file already has it. */
  name(name: string): string {
    if (this.#taken.has(name)) {
      throw new BadInputError(`Cannot add a value named "${name}": the graph has one already`);
    }
    this.#taken.add(name);
    return name;
  }

  /** Whether a value of this name exists, in the graph or among the changes. */
  has(name: string): boolean {
    return this.#taken.has(name);
  }

  /** An unused name, derived from `hint`; not reserved. */
  freeName(hint: string): string {
    return freeName(this.#taken, hint);
  }

  initializer(name: string, value: Tensor): string {
    this.#initializers.set(this.name(name), value);
    return name;
  }

  /** An initializer shared by all callers with the same name and contents. */
  shared(name: string, make: () => Tensor): string {
    if (!this.#initializers.has(name)) this.initializer(name, make());
    return name;
  }

  input(info: ValueInfo): string {
    this.name(info.name);
    this.#inputs.push(info);
    return info.name;
  }

  output(info: ValueInfo): void {
    this.#outputs.push(info);
  }

  /** Adds a node of the ONNX domain after `anchor` (`undefined`: first) and returns its output. */
  add(
    anchor: Node | undefined,
    opType: string,
    inputs: readonly string[],
    output: string,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): string {
    const node = { name: output, opType, domain: "", inputs, outputs: [output], attributes };
    this.insert(anchor, node);
    return output;
  }

  /** Adds any node after `anchor` (`undefined`: first). */
  insert(anchor: Node | undefined, node: Node): void {
    const list = this.#after.get(anchor);
    if (list === undefined) this.#after.set(anchor, [node]);
    else list.push(node);
  }

  /** Renames an output of `node`, so that its old name can be used for another value. */
  renameOutput(node: Node, from: string, to: string): void {
    this.name(to);
    const now = this.#replaced.get(node) ?? node;
    this.#replaced.set(node, {
      ...now,
      // A node that an earlier edit added is called as its output, and so is the next one.
      name: now.name === from ? to : now.name,
      outputs: now.outputs.map((output) => output === from ? to : output),
    });
  }

  /** Makes `node` read `to` instead of `from`. */
  renameInput(node: Node, from: string, to: string): void {
    const now = this.#replaced.get(node) ?? node;
    this.#replaced.set(node, {
      ...now,
      inputs: now.inputs.map((input) => input === from ? to : input),
    });
  }

  /** Renames a computed value, so that its old name can be used for another value. */
  renameValue(from: string, to: string): void {
    for (const node of this.#graph.nodes) {
      if (node.outputs.includes(from)) this.renameOutput(node, from, to);
      if (node.inputs.includes(from)) this.renameInput(node, from, to);
    }
    this.#taken.delete(from);
    this.#freed.add(from);
  }

  /** The model with all changes. */
  apply(model: Model): Model {
    const first = this.#after.get(undefined) ?? [];
    const nodes = this.#graph.nodes.flatMap((node) => [
      this.#replaced.get(node) ?? node,
      ...this.#after.get(node) ?? [],
    ]);
    return {
      ...model,
      graph: verify({
        ...this.#graph,
        inputs: [...this.#graph.inputs, ...this.#inputs],
        outputs: [...this.#graph.outputs, ...this.#outputs],
        initializers: new Map([...this.#graph.initializers, ...this.#initializers]),
        valueInfo: new Map(
          [...this.#graph.valueInfo].filter(([name]) => !this.#freed.has(name)),
        ),
        nodes: [...first, ...nodes],
      }, "GraphEdit"),
    };
  }
}
