/**
 * A language model with its loss in two graphs: one computes what the head reads of the target rows, the
 * other the losses of as many rows at a time as there is room for their logits.
 */
import { prune } from "../graph/passes/prune.ts";
import type { Graph, Model, ValueType } from "../graph/types.ts";
import { LABELS } from "../plan/names.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import { ROW_LOGITS, ROW_LOSSES, withLoss } from "./loss_graph.ts";

export interface CutLoss {
  /** The model from its inputs and {@linkcode TARGET_ROWS} to {@linkcode CutLoss.states}. */
  readonly body: Model;
  /** Name of the value between the two: [target rows, width]. */
  readonly states: string;
  /**
   * From rows of the states and their {@linkcode LABELS} to {@linkcode ROW_LOSSES} and
   * {@linkcode ROW_LOGITS}.
   *
   * @param states type of these rows, their number open
   */
  head(states: ValueType): Model;
  /** Whether the head computes the logits; else the body does, of all positions. */
  readonly headScores: boolean;
}

/** @param model with an output `logits` */
export function cutLoss(model: Model): CutLoss {
  const { graph } = withLoss(model);
  const chosen = graph.nodes.find(({ opType, inputs }) =>
    opType === "Gather" && inputs[1] === TARGET_ROWS
  )!;
  const [states] = chosen.outputs;
  const held = graph.outputs.filter(({ name }) => name !== ROW_LOSSES && name !== ROW_LOGITS);
  // What the model takes it takes, read or not: an input that nobody knows is to be told.
  const taken = new Set(model.graph.inputs.map(({ name }) => name));
  const part = (own: Partial<Graph>) => ({
    ...model,
    graph: prune({ ...graph, ...own, valueInfo: new Map() }, taken),
  });
  const head = part({
    nodes: graph.nodes.filter((node) => node !== chosen),
    inputs: [{ name: states }, ...graph.inputs.filter(({ name }) => name === LABELS)],
    outputs: graph.outputs.filter((output) => !held.includes(output)),
  });
  return {
    states,
    body: part({ outputs: [{ name: states }, ...held] }),
    head: (type) => ({
      ...head,
      graph: {
        ...head.graph,
        inputs: head.graph.inputs.map((input) =>
          input.name === states ? { ...input, type } : input
        ),
      },
    }),
    headScores: head.graph.nodes.some(({ outputs }) => outputs.includes("logits")),
  };
}
