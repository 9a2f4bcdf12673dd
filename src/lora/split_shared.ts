/** Copies an initializer that others read too, so that one reader's can change. */
import type { Model, Node } from "../graph/types.ts";
import { GraphEdit } from "./edit.ts";
import { indexGraph } from "./graph_index.ts";

export interface Split {
  readonly model: Model;
  /** The initializer that only `reader` reads now: a copy, or the original where it was alone. */
  readonly name: string;
}

/**
 * Gives one node an initializer of its own. SmolLM2's head, for one, reads the very bytes that its
 * embedding reads; what a merge writes for the head must not reach the embedding.
 *
 * @param reader a node of the model's graph that reads `initializer` directly
 * @throws {RangeError} where the graph has no such initializer or the node does not read it
 */
export function splitShared(model: Model, initializer: string, reader: Node): Split {
  const { graph } = model;
  const value = graph.initializers.get(initializer);
  if (value === undefined) throw new RangeError(`The graph has no initializer "${initializer}"`);
  if (!reader.inputs.includes(initializer)) {
    throw new RangeError(`Node "${reader.name}" does not read "${initializer}"`);
  }
  const index = indexGraph(graph);
  const alone = index.consumers(initializer).every((node) => node === reader) &&
    !index.isOutput(initializer);
  if (alone) return { model, name: initializer };
  const edit = new GraphEdit(graph);
  const name = freeName(edit, `${initializer}.split`);
  edit.initializer(name, value);
  edit.renameInput(reader, initializer, name);
  return { model: edit.apply(model), name };
}

function freeName(edit: GraphEdit, hint: string): string {
  let name = hint;
  for (let i = 1; edit.has(name); i++) name = `${hint}.${i}`;
  return name;
}
