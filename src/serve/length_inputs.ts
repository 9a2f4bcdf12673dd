/**
 * A language model with inputs for the filled length of its caches, instead of summing a mask.
 *
 * The sum runs on the CPU, and a mask grows with the text: both prevent recorded runs, whose shapes must
 * not change and whose nodes must all be on the device.
 */
import { prune } from "../graph/passes/prune.ts";
import { type Graph, MICROSOFT, type Model, type ValueInfo } from "../graph/types.ts";
import { longestPaddedMask, SEQUENCE_LENGTHS, TOTAL_LENGTH } from "./padded_mask.ts";

/** int32 [1]: tokens in the caches after the run, minus one. */
export const FILLED_LENGTH = "graft.filled_length";
/** int32: number of tokens; for a run of one token the largest possible number. */
export const TOTAL_LENGTH_INPUT = "graft.total_length";

const LENGTH_INPUTS: readonly ValueInfo[] = [
  { name: FILLED_LENGTH, type: { dtype: "int32", shape: [1] } },
  { name: TOTAL_LENGTH_INPUT, type: { dtype: "int32", shape: [] } },
];

/** A model with length inputs. */
export interface LengthInputModel {
  readonly model: Model;
  /** Largest value of {@linkcode TOTAL_LENGTH_INPUT}. */
  readonly longest: number;
}

/**
 * The model with these inputs instead of `attention_mask`, for one text at a time.
 *
 * @returns `undefined` if the mask is used for anything but GroupQueryAttention's lengths
 */
export function withLengthInputs(model: Model): LengthInputModel | undefined {
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
  const rewritten: Graph = { ...graph, nodes, inputs: [...inputs, ...LENGTH_INPUTS] };
  return { model: { ...model, graph: prune(rewritten) }, longest };
}
