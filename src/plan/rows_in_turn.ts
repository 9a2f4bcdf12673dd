/**
 * Runs calls that compute each row by itself over a part of the rows at a time. Their sessions serve any number
 * of rows, what passes between calls lies row after row, and sums over rows go from part to part: only the
 * memory that a call takes while it runs becomes smaller.
 */
import type { Graph } from "../graph/types.ts";
import { BoundSizes, type Extent, Size } from "../graph/size.ts";
import type { PlannedCall } from "./call.ts";
import { type RowAxes, rowAxes } from "./row_wise.ts";
import type { Placement } from "./step_memory.ts";
import type { SizeName } from "./step_sizes.ts";
import type { Schedule } from "./schedule.ts";

/** Calls that may run over a part of a batch's rows. */
export interface RowWiseCalls {
  readonly rows: Size;
  /** About how many rows they compute at a time. */
  readonly atOnce: number;
  readonly axes: ReadonlyMap<PlannedCall, RowAxes>;
}

/**
 * Finds those among the calls of a step.
 *
 * @param rows of a batch; a number where the plan serves batches with this many alone
 * @param atOnce about how many rows they compute at a time
 * @returns `undefined` where there are none
 */
export function rowWiseCalls(
  calls: readonly PlannedCall[],
  rows: Extent,
  atOnce: number,
): RowWiseCalls | undefined {
  if (!(rows instanceof Size)) return undefined;
  const found = new Map<Graph, RowAxes | undefined>();
  const axes = new Map<PlannedCall, RowAxes>();
  for (const call of calls) {
    if (!found.has(call.graph)) found.set(call.graph, rowAxes(call, rows));
    const ofCall = found.get(call.graph);
    if (ofCall !== undefined) axes.set(call, ofCall);
  }
  return axes.size === 0 ? undefined : { rows, atOnce, axes };
}

/** Parts begin at multiples of so many rows, so that each tensor's begins on a cache line. */
const ALIGNED_ROWS = 64;

/** The schedule with these calls in parts. */
export function withRowsInTurn(
  schedule: Schedule,
  { rows, atOnce, axes }: RowWiseCalls,
): Schedule {
  const count = schedule.sizes.of(rows);
  const parts = partsOf(count, atOnce);
  if (parts.length === 1) return schedule;
  const placements = new Map(schedule.memory.placements);
  const release: (readonly string[])[] = [];
  const calls = schedule.calls.flatMap((call, i) => {
    const divided = dividedTensors(call, axes.get(call), schedule.memory.placements);
    if (divided === undefined) {
      release.push(schedule.release[i]);
      return [call];
    }
    const made = new Set(call.fetches.values());
    const dead = [...schedule.release[i]];
    const runs = parts.map((part) => {
      for (const [name, axis] of divided) {
        const ofPart = nameOf(name, part);
        placements.set(ofPart, placeOf(placements.get(name)!, axis, count, part));
        if (made.has(name)) dead.push(ofPart);
      }
      return callOver(call, divided, part);
    });
    release.push(...runs.slice(1).map(() => []), dead);
    return runs;
  });
  return { ...schedule, calls, release, memory: { ...schedule.memory, placements } };
}

/** Some rows, from `from` on. */
interface RowPart {
  readonly from: number;
  readonly count: number;
  readonly sizes: BoundSizes;
}

function partsOf(count: number, atOnce: number): readonly RowPart[] {
  const even = Math.ceil(count / Math.ceil(count / atOnce));
  const each = Math.ceil(even / ALIGNED_ROWS) * ALIGNED_ROWS;
  const sizes = new Map<number, BoundSizes>();
  const parts: RowPart[] = [];
  for (let from = 0; from < count; from += each) {
    const rows = Math.min(each, count - from);
    let ofRows = sizes.get(rows);
    if (ofRows === undefined) sizes.set(rows, ofRows = sizesOf(rows));
    parts.push({ from, count: rows, sizes: ofRows });
  }
  return parts;
}

/** Sizes at which a batch of one sequence, or a span from its first token on, has so many rows. */
function sizesOf(rows: number): BoundSizes {
  const values: Record<SizeName, number> = {
    ...{ batch: 1, length: rows, rows },
    ...{ targets: 0, common: 0, from: 0 },
  };
  return new BoundSizes(new Map(Object.entries(values)));
}

const nameOf = (name: string, { from, count }: RowPart) =>
  `${name}, rows ${from} to ${from + count}`;

/** The tensors with rows that a call reads and leaves, with the rows' axis, if all have places. */
function dividedTensors(
  { feeds, fetches, sized }: PlannedCall,
  axes: RowAxes | undefined,
  placements: ReadonlyMap<string, Placement>,
): ReadonlyMap<string, number> | undefined {
  if (axes === undefined) return undefined;
  const divided = new Map<string, number>();
  for (const [canonical, name] of [...feeds, ...fetches]) {
    const axis = axes.get(canonical);
    if (axis === undefined || sized.has(canonical)) continue;
    if (!placements.has(name)) return undefined;
    divided.set(name, axis);
  }
  return divided;
}

/** Where some rows of a tensor lie, which has the same bytes for each of `rows`. */
function placeOf(
  { offset, bytes, dtype, dims }: Placement,
  axis: number,
  rows: number,
  part: RowPart,
): Placement {
  const each = bytes / rows;
  return {
    offset: offset + part.from * each,
    bytes: part.count * each,
    dtype,
    dims: dims.with(axis, dims[axis] / rows * part.count),
  };
}

function callOver(
  call: PlannedCall,
  divided: ReadonlyMap<string, number>,
  part: RowPart,
): PlannedCall {
  const { feeds, fetches, sized, label } = call;
  const partOf = (name: string) => divided.has(name) ? nameOf(name, part) : name;
  return {
    ...call,
    partOf: call,
    label: nameOf(label, part),
    sizes: part.sizes,
    feeds: new Map(
      [...feeds].map(([canonical, name]) => [
        canonical,
        sized.has(canonical) ? `${name} at ${part.count} rows` : partOf(name),
      ]),
    ),
    fetches: new Map([...fetches].map(([canonical, name]) => [canonical, partOf(name)])),
  };
}
