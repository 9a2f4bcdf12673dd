/**
 * Counts the nodes of all sessions of a run. One session serves all batch shapes of a kind (`call_graph.ts`):
 * attention in more blocks needs other sessions, and so do sequences that run alone.
 */
import { intAttribute } from "../graph/attributes.ts";
import type { Graph, Node } from "../graph/types.ts";
import { blockCount, packedBlockTokens } from "../ops/contrib/attention_blocks.ts";
import type { PlannedCall } from "./call.ts";
import type { PlanOptions } from "./options.ts";

/** What decides which sessions a shape's plan uses, as far as it is known before planning. */
export interface ShapeKind {
  /** Equal for shapes that differ at most in sizes and blocks. */
  readonly form: string;
  /** Number of blocks of queries, over all parts of the sequences. */
  readonly blocks: number;
}

export function shapeKind(graph: Graph, options: PlanOptions): ShapeKind {
  const { batch, packedRows, targetRows, prefixSums, commonTokens = 0 } = options;
  const form = [
    ...[batch === 1, packedRows === undefined, targetRows === undefined],
    ...[prefixSums, commonTokens > 0, options.inTiles],
  ];
  const blocks = attentionBlocks(graph, options).reduce((sum, count) => sum + count, 0);
  return { form: form.join(), blocks };
}

/**
 * Query heads per key head, for a node that runs in blocks of queries where sequences are long enough;
 * `undefined` for all others.
 */
function causalGroup(node: Node): number | undefined {
  const isCausal = node.opType === "GroupQueryAttention" ||
    ["unidirectional", "is_causal"].some((name) => intAttribute(node, name, 0) === 1);
  const heads = intAttribute(node, "num_heads", intAttribute(node, "q_num_heads", 1));
  const keyHeads = intAttribute(node, "kv_num_heads", heads);
  return isCausal ? heads / keyHeads : undefined;
}

/**
 * The number of blocks of queries of a graph's attention, for the tokens that all sequences begin with and
 * for those after them.
 */
function attentionBlocks(
  { nodes }: Graph,
  { length, commonTokens = 0, packedRows, span }: PlanOptions,
): readonly number[] {
  const groups = new Set(nodes.flatMap((node) => causalGroup(node) ?? []));
  return [...groups].flatMap((group) =>
    [commonTokens, length - commonTokens - (span?.from ?? 0)].map((tokens) =>
      blockCount(tokens, packedRows === undefined ? undefined : packedBlockTokens(group))
    )
  );
}

/**
 * Further sessions of a training step, as a share of those of the kinds, where there are several kinds: which
 * of a segment's values are kept depends on a batch's exact size (10,900 nodes where the kinds have 7,200,
 * for SmolLM2's blocks in 60 batches of up to 256 tokens).
 */
export const SIZE_VARIANTS = 0.5;

/** Calls of a plan, and the number of blocks of its attention. */
export interface KindCalls {
  readonly blocks: number;
  readonly calls: readonly PlannedCall[];
}

/**
 * Nodes of the sessions for all batches of one form: every block has the same number of nodes.
 *
 * @param fewest a plan with the fewest blocks
 * @param most one with the most; may be the same
 * @param blocks of all kinds, each once
 */
export function sessionNodes(
  fewest: KindCalls,
  most: KindCalls,
  blocks: readonly number[],
): number {
  const both = nodesOf([fewest.calls, most.calls]);
  const [few, many] = [both - nodesOf([most.calls]), both - nodesOf([fewest.calls])];
  const span = most.blocks - fewest.blocks;
  const between = blocks.filter((count) => count !== fewest.blocks && count !== most.blocks)
    .map((count) => few + (many - few) * (count - fewest.blocks) / span);
  return between.reduce((sum, nodes) => sum + nodes, both);
}

/** Nodes of all sessions that the given plans need together. */
function nodesOf(plans: readonly (readonly PlannedCall[])[]): number {
  const found = new Map(plans.flat().map(({ key, graph }) => [key, graph.nodes.length]));
  return [...found.values()].reduce((sum, nodes) => sum + nodes, 0);
}
