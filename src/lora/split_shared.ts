/** Copies an initializer with several readers, so that it can change for one of them. */
import type { Model, Node } from "../graph/types.ts";
import { GraphEdit } from "./edit.ts";
import { indexGraph } from "./graph_index.ts";

/** A model whose shared layers are apart. */
export interface Split {
  /** The model. */
  readonly model: Model;
  /** The initializer that only `readers` read now: a copy, or the original if it had no other readers. */
  readonly name: string;
}

/**
 * Gives the nodes of one layer a separate initializer. SmolLM2's head, for example, reads the same bytes
 * as its embedding; a merge into the head must not change the embedding.
 *
 * @param readers nodes of the model's graph that read `initializer` directly
 * @throws {RangeError} if the graph has no such initializer or a node does not read it
 */
export function splitShared(
  model: Model,
  initializer: string,
  readers: readonly Node[],
): Split {
  const { graph } = model;
  const value = graph.initializers.get(initializer);
  if (value === undefined) throw new RangeError(`The graph has no initializer "${initializer}"`);
  for (const { name, inputs } of readers) {
    if (!inputs.includes(initializer)) {
      throw new RangeError(`Node "${name}" does not read "${initializer}"`);
    }
  }
  const index = indexGraph(graph);
  const alone = index.consumers(initializer).every((node) => readers.includes(node)) &&
    !index.isOutput(initializer);
  if (alone) return { model, name: initializer };
  const edit = new GraphEdit(graph);
  const name = edit.freeName(`${initializer}.split`);
  edit.initializer(name, value);
  for (const reader of readers) edit.renameInput(reader, initializer, name);
  return { model: edit.apply(model), name };
}
