/** Open graphs of a plan's calls, from the plan of a batch shape beside its own. */
import { intAttribute } from "../graph/attributes.ts";
import type { Graph, Model, Node } from "../graph/types.ts";
import { blockCount, packedBlockTokens } from "../ops/contrib/attention_blocks.ts";
import type { PlannedCall } from "./call.ts";
import { fixedShape } from "./inputs.ts";
import { ShapeError } from "./lower.ts";
import { type OpenGraph, openGraph, SizedGraph } from "./open_graph.ts";
import { type PlanOptions, planTraining, type TrainingPlan } from "./plan.ts";
import type { Span } from "./span.ts";

/**
 * How far lengths lie apart: a token for each of the at most eight blocks that causal attention runs in.
 * These end at multiples of a number of keys: one that has as many at both lengths is no size that is
 * left open.
 */
const LENGTH_STEP = 8;

/** Plans of a model for the shapes beside a plan's, one after the other as they are asked for. */
export function* neighbourPlans(model: Model, { options }: TrainingPlan): Iterable<TrainingPlan> {
  if (fixedShape(model.graph).length === undefined) {
    for (const more of [LENGTH_STEP, -LENGTH_STEP]) {
      const other = neighbour(options, options.length + Math.sign(more) * stepOf(options), more);
      if (other === undefined) continue;
      const blocks = [options, other].map((shape) => attentionBlocks(model.graph, shape).join());
      if (blocks[0] !== blocks[1]) continue;
      const plan = planWithinPositions(model, other);
      if (plan !== undefined) yield plan;
    }
  } else if (options.batch === 1) return;
  // What is left: of the same length, which is no size that is left open then.
  const other = neighbour(options, options.length);
  if (other !== undefined) yield planTraining(model, other);
}

/**
 * Query heads of a key head, of a node that runs in blocks of queries where sequences are long enough;
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
 * In how many blocks of queries a graph's attention runs: of what all sequences begin with, and of what
 * comes after it.
 */
export function attentionBlocks(
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

/** Where sequences begin alike, both that and what comes after it becomes longer or shorter. */
function stepOf({ commonTokens = 0 }: PlanOptions): number {
  return commonTokens > 0 ? 2 * LENGTH_STEP : LENGTH_STEP;
}

/** A plan, unless the model ends at a smaller length: only its graph tells how many tokens it takes. */
function planWithinPositions(model: Model, options: PlanOptions): TrainingPlan | undefined {
  try {
    return planTraining(model, options);
  } catch (error) {
    if (error instanceof ShapeError) return undefined;
    throw error;
  }
}

/**
 * All sizes are others, so that nothing looks fixed that is not. A single sequence stays single:
 * graphs of one are of their own kind, and so are those with nodes for each of so many.
 *
 * @param more tokens that sequences begin with, where they begin alike
 * @returns the options of another length, or `undefined` where it leaves no token
 */
function neighbour(
  options: PlanOptions,
  length: number,
  more = 0,
): PlanOptions | undefined {
  const { targetRows, packedRows, commonTokens = 0 } = options;
  const otherCommon = commonTokens && commonTokens + more;
  const { batch: sequences, prefixSums } = options;
  const batch = sequences === 1 || prefixSums === "by sequence" ? sequences : sequences + 1;
  if (options.span !== undefined) return neighbourSpan(options, options.span, more);
  const otherPacked = packedRows === undefined ? undefined : otherRows(packedRows, batch * length);
  if (length < 1 || otherPacked === 0 || commonTokens > 0 && otherCommon <= 0) return undefined;
  return {
    ...options,
    batch,
    length,
    targetRows: targetRows === undefined ? undefined : targetRows + 1,
    packedRows: otherPacked,
    commonTokens: otherCommon,
  };
}

/** Of a span both what comes before it, where something does, and the span are longer or shorter. */
function neighbourSpan(options: PlanOptions, span: Span, more: number): PlanOptions | undefined {
  const from = span.from > 0 ? span.from + more : 0;
  const packedRows = options.packedRows! + more;
  if (more === 0 || from < 0 || packedRows < 1) return undefined;
  return {
    ...options,
    length: from + packedRows,
    packedRows,
    targetRows: options.targetRows === undefined ? undefined : options.targetRows + 1,
    span: { ...span, from },
  };
}

/** Packed rows that are fewer than the positions that they are taken from; 0 where there are none. */
function otherRows(rows: number, positions: number): number {
  return rows + 1 < positions ? rows + 1 : Math.min(rows, positions) - 1;
}

/** All calls of a plan, those of its preprocessing aside. */
export function callsOf({ training, evaluation, logits }: TrainingPlan): readonly PlannedCall[] {
  return [training, evaluation, logits].flatMap(({ calls }) => calls);
}

/** The different graphs of a plan's calls by the calls' key. */
export function graphsOf(plan: TrainingPlan): ReadonlyMap<string, SizedGraph> {
  const graphs = new Map<string, SizedGraph>();
  for (const { key, graph } of callsOf(plan)) {
    if (!graphs.has(key)) graphs.set(key, new SizedGraph(graph));
  }
  return graphs;
}

/** Open graphs by the key of the call that each was made of; none where the neighbour has no like. */
export function openGraphsOf(
  here: ReadonlyMap<string, SizedGraph>,
  there: ReadonlyMap<string, SizedGraph>,
): ReadonlyMap<string, OpenGraph> {
  const others = new Map([...there.values()].map((graph, i, all) => [placeOf(all, i), graph]));
  const opened = new Map<string, OpenGraph>();
  const all = [...here.values()];
  [...here.keys()].forEach((key, i) => {
    const other = others.get(placeOf(all, i));
    const open = other === undefined ? undefined : openGraph(all[i], other);
    if (open !== undefined) opened.set(key, open);
  });
  return opened;
}

/** Graphs of equal outline differ in sizes that a batch has no part in, and come in one order. */
function placeOf(graphs: readonly SizedGraph[], index: number): string {
  const { outline } = graphs[index];
  const before = graphs.slice(0, index).filter((graph) => graph.outline === outline);
  return `${before.length}\n${outline}`;
}
