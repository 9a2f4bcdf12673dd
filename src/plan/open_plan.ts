/** Open graphs of a plan's calls, from the plan of a batch shape beside its own. */
import { GraftError } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import { type OpenGraph, openGraph, SizedGraph } from "./open_graph.ts";
import { type PlanOptions, planTraining, type TrainingPlan } from "./plan.ts";

/**
 * How far lengths lie apart: causal attention runs in at most eight blocks, each of which becomes
 * longer or shorter by a token at least.
 */
const LENGTH_STEP = 8;

/** Plans of a model for the shapes beside a plan's, one after the other as they are asked for. */
export function* neighbourPlans(model: Model, { options }: TrainingPlan): Iterable<TrainingPlan> {
  for (const length of [options.length + LENGTH_STEP, options.length - LENGTH_STEP]) {
    if (length < 1) continue;
    try {
      yield planTraining(model, neighbour(options, length));
    } catch (error) {
      // The model may end where the plan's length does.
      if (!(error instanceof GraftError)) throw error;
    }
  }
}

/**
 * All sizes are others, so that nothing looks fixed that is not. A single sequence stays single:
 * graphs of one are of their own kind.
 */
function neighbour(options: PlanOptions, length: number): PlanOptions {
  const { targetRows, packedRows } = options;
  const batch = options.batch === 1 ? 1 : options.batch + 1;
  return {
    ...options,
    batch,
    length,
    ...(targetRows === undefined ? {} : { targetRows: targetRows + 1 }),
    ...(packedRows === undefined ? {} : { packedRows: otherRows(packedRows, batch * length) }),
  };
}

/** Packed rows that are fewer than the places that they are taken from. */
function otherRows(rows: number, places: number): number {
  return rows + 1 < places ? rows + 1 : Math.min(rows, places) - 1;
}

/** The different graphs of a plan's calls by the calls' key. */
export function graphsOf(plan: TrainingPlan): ReadonlyMap<string, SizedGraph> {
  const graphs = new Map<string, SizedGraph>();
  for (const { calls } of [plan.training, plan.evaluation, plan.logits]) {
    for (const { key, graph } of calls) {
      if (!graphs.has(key)) graphs.set(key, new SizedGraph(graph));
    }
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
