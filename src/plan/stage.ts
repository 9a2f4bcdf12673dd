/**
 * Pipeline parallelism by layers: a stage has some consecutive segments of a step, and the activations and
 * cotangents at its two ends pass between it and its neighbours.
 */
import { boundDims } from "../graph/bind_graph.ts";
import { byteLength } from "../graph/dtype.ts";
import { countIn, typeIn } from "../graph/facts.ts";
import { settled } from "../graph/extent_arithmetic.ts";
import type { BoundSizes } from "../graph/size.ts";
import type { Graph } from "../graph/types.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { UnsupportedError } from "../ops/types.ts";
import type { PlannedCall } from "./call.ts";
import { isWeighted, originalOf, type Segment, type SegmentRange } from "./cut.ts";
import type { BoundInput } from "./inputs.ts";
import { cotangentName } from "./names.ts";
import type { StepKind } from "./options.ts";
import type { PreprocessingCall } from "./weight_preprocessing.ts";

/** An activation that passes between two stages. */
export interface StageLink extends BoundInput {
  readonly name: string;
}

/** What passes between a stage and its neighbours. */
export interface StageLinks {
  /** Comes from the stage before; absent in the first. */
  readonly input?: StageLink;
  /** Goes to the next stage; absent in the last. */
  readonly output?: StageLink;
  /** Whether the cotangent of `input` goes back: something below is trained. */
  readonly returnsCotangent: boolean;
  /** Whether the cotangent of `output` comes back. */
  readonly awaitsCotangent: boolean;
  /** Number of the training schedule's calls before those of the backward pass. */
  readonly turn: number;
}

/**
 * Elements of the weights that each segment multiplies activations with: what decides both its time, all of
 * it but attention, and its bytes. Tables of embeddings do not count, of which only the looked-up rows are
 * read.
 */
export function segmentLoads(
  segments: readonly Segment[],
  lowered: Graph,
  constants: ReadonlySet<string>,
): readonly number[] {
  return segments.map(({ nodes }) => {
    const weights = nodes.filter((node) => isWeighted(node, constants))
      .map(({ inputs }) => inputs.slice(0, 2).find((input) => constants.has(input))!);
    return weights.reduce((sum, weight) => sum + settled(countIn(lowered, weight)), 0);
  });
}

/**
 * Divides segments among stages so that the largest load of a stage is as small as possible. Among such
 * divisions it is the one whose first stages have the fewest: they hold the activations of more micro-batches.
 *
 * @returns the ranges in order; `undefined` if there are fewer segments than stages
 */
export function divideSegments(
  loads: readonly number[],
  stages: number,
): readonly SegmentRange[] | undefined {
  const count = loads.length;
  if (count < stages) return undefined;
  const sums = [0];
  for (const load of loads) sums.push(sums[sums.length - 1] + load);
  /** By first segment: the smallest possible largest load of the stages left, and where the first ends. */
  let best = loads.map((_, from) => ({ load: sums[count] - sums[from], to: count }));
  const ends = [best];
  for (let left = 2; left <= stages; left++) {
    const before = best;
    best = loads.map((_, from) => {
      let found = { load: Infinity, to: count };
      for (let to = from + 1; to <= count - left + 1; to++) {
        const load = Math.max(sums[to] - sums[from], before[to].load);
        if (load < found.load) found = { load, to };
      }
      return found;
    });
    ends.unshift(best);
  }
  let from = 0;
  return ends.map((end) => {
    const { to } = end[from];
    const range = { from, to, count };
    from = to;
    return range;
  });
}

/**
 * @param first number of the first segment with something to train
 * @throws {UnsupportedError} if the step has other segments than the stage was made for
 */
export function stageLinks(
  { from, to, count }: SegmentRange,
  segments: readonly Segment[],
  lowered: Graph,
  first: number,
  turn: number,
): StageLinks {
  if (segments.length !== count) {
    throw new UnsupportedError(
      `Cannot divide the model into stages: this batch is computed in ${segments.length} segments, ` +
        `others in ${count}`,
    );
  }
  const linkAt = (i: number): StageLink | undefined => {
    const { input } = segments[i] ?? {};
    if (input === undefined) return undefined;
    const { dtype, dims } = typeIn(lowered, originalOf(segments[i]).input!)!;
    return { name: input, dtype, dims };
  };
  return {
    input: linkAt(from),
    output: linkAt(to),
    returnsCotangent: from > first,
    awaitsCotangent: to < count && to > first,
    turn,
  };
}

/** Bytes of an activation that passes between stages, and of its cotangent; 0 for none. */
export const linkBytes = (link: StageLink | undefined): number =>
  link === undefined ? 0 : byteLength(link.dtype, elementCount(link.dims));

/** The links at a batch. */
export function linksAt(links: StageLinks, sizes: BoundSizes): StageLinks {
  const bound = (link: StageLink | undefined) =>
    link && { ...link, dims: boundDims(link.dims, sizes) };
  return { ...links, input: bound(links.input), output: bound(links.output) };
}

/** Names of the tensors that a stage computes for its neighbours. */
export function sentNames({ input, output, returnsCotangent }: StageLinks): readonly string[] {
  return [
    ...(output === undefined ? [] : [output.name]),
    ...(input === undefined || !returnsCotangent ? [] : [cotangentName(input.name)]),
  ];
}

/** What calls read that no batch brings. */
interface ReadOnce {
  readonly preprocessing: readonly PreprocessingCall[];
  readonly constants: ReadonlyMap<string, Tensor>;
}

/** The preprocessing that a stage's calls need, and the weights that either read. */
export function readByStage(
  calls: Readonly<Record<StepKind, readonly PlannedCall[]>>,
  { preprocessing, constants }: ReadOnce,
): ReadOnce {
  const read = new Set(
    Object.values(calls).flat().flatMap(({ feeds }) => [...feeds.values()]),
  );
  const needed = preprocessing.toReversed().filter(({ feeds, fetches }) => {
    if (![...fetches.values()].some((name) => read.has(name))) return false;
    for (const name of feeds.values()) read.add(name);
    return true;
  }).reverse();
  return {
    preprocessing: needed,
    constants: new Map([...constants].filter(([name]) => read.has(name))),
  };
}
