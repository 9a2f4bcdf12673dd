/**
 * A language model that is told how much of its caches is filled, instead of counting a mask's ones.
 *
 * What counts them runs on the processor, and a mask grows with the text: in the way of runs that a
 * device records, whose shapes stay and whose nodes are all its own.
 */
import { prune } from "../graph/passes/prune.ts";
import { type Graph, MICROSOFT, type Model, type ValueInfo } from "../graph/types.ts";
import { longestPaddedMask, SEQUENCE_LENGTHS, TOTAL_LENGTH } from "./padded_mask.ts";

/** int32 [1]: tokens in the caches once the run is over, less one. */
export const FILLED_LENGTH = "graft.filled_length";
/** int32: tokens there are, or as many as there may be where a run reads one. */
export const TOTAL_LENGTH_INPUT = "graft.total_length";

const LENGTH_INPUTS: readonly ValueInfo[] = [
  { name: FILLED_LENGTH, type: { dtype: "int32", shape: [1] } },
  { name: TOTAL_LENGTH_INPUT, type: { dtype: "int32", shape: [] } },
];

/** A model that is told lengths. */
export interface TellingLengths {
  readonly model: Model;
  /** Most that {@linkcode TOTAL_LENGTH_INPUT} may say. */
  readonly longest: number;
}

/**
 * The model with these inputs in place of `attention_mask`, for texts one at a time.
 *
 * @returns `undefined` where anything but GroupQueryAttention's lengths comes of the mask
 */
export function withLengthInputs(model: Model): TellingLengths | undefined {
  const { graph } = model;
  const longest = longestPaddedMask(graph);
  if (longest === 0) return undefined;
  const nodes = graph.nodes.map((node) => {
    if (node.opType !== "GroupQueryAttention" || node.domain !== MICROSOFT) return node;
    const inputs = [...node.inputs];
    inputs[SEQUENCE_LENGTHS] = FILLED_LENGTH;
    inputs[TOTAL_LENGTH] = TOTAL_LENGTH_INPUT;
    return { ...node, inputs };
  });
  const inputs = graph.inputs.filter(({ name }) => name !== "attention_mask");
  const told: Graph = { ...graph, nodes, inputs: [...inputs, ...LENGTH_INPUTS] };
  return { model: { ...model, graph: prune(told) }, longest };
}
