/**
 * Puts back the blocks that planning left out (`alike_blocks.ts`): copies of the second block's segments,
 * over other weights, go between those and the last block's.
 */
import { isSized, sizedName } from "../graph/extents.ts";
import { renamed, type Signature, signatureOf } from "./alike.ts";
import { copied, type FoldedBlocks, haveSameBytes, UnlikeBlocksError } from "./alike_blocks.ts";
import { SECOND } from "./block_nodes.ts";
import type { Segment } from "./cut.ts";
import type { PreprocessingCall } from "./weight_preprocessing.ts";
import { Parameter, weightOf } from "../graph/parameter.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { PlanContext } from "./segment_calls.ts";

/** The pieces of a folded graph. */
export interface FoldedPieces {
  readonly segments: readonly Segment[];
  readonly preprocessing: readonly PreprocessingCall[];
  /** All weights that the pieces read, as stored in the file. */
  readonly weights: ReadonlyMap<string, Tensor>;
}

/**
 * The pieces of the whole graph.
 *
 * @throws {UnlikeBlocksError} where the segments of the second block and of the last differ in more than
 *   their weights
 */
export function repeatSegments(
  { segments, preprocessing, weights }: FoldedPieces,
  context: PlanContext,
  folded: FoldedBlocks,
): FoldedPieces {
  const range = findRepeatedRange(segments, context, folded);
  if (range === undefined) throw new UnlikeBlocksError(folded);
  const { begin, end, own, border } = range;
  const left = folded.count - 3;
  /** A name of the second block in a copy of it, counted from 1. */
  const nameIn = (copy: number) => (name: string): string => {
    if (name === border.input) return copied(border.output, copy - 1);
    if (!own.has(name)) return name;
    return folded.blockOf(name) === undefined
      ? copied(name, copy)
      : folded.counterpart(name, SECOND + copy);
  };
  const copies = Array.from({ length: left }, (_, i) => nameIn(i + 1));
  const made = preprocessing.filter(({ fetches }) => [...fetches.values()].some((n) => own.has(n)));
  for (const { feeds } of made) {
    for (const name of feeds.values()) {
      if (isOwn(name, weights.get(name)!, folded)) own.add(name);
    }
  }
  const all = [...context.lowered.initializers, ...weights];
  // If another piece read something of the second block, the copies would lack it.
  if (!all.every(([name, value]) => own.has(name) || !isOwn(name, value, folded))) {
    throw new UnlikeBlocksError(folded);
  }
  const read = [...weights].filter(([name]) => own.has(name));
  const behind = segments.slice(end);
  const lastMade = preprocessing.findLastIndex((call) => made.includes(call)) + 1;
  return {
    segments: [
      ...segments.slice(0, end),
      ...copies.flatMap((name) =>
        segments.slice(begin, end).map((segment) => copyOf(segment, name))
      ),
      copyOf(behind[0], (name) => name === border.output ? copied(name, left) : name),
      ...behind.slice(1),
    ],
    preprocessing: [
      ...preprocessing.slice(0, lastMade),
      ...copies.flatMap((name) => made.map((call) => copyOfCall(call, name))),
      ...preprocessing.slice(lastMade),
    ],
    weights: new Map([
      ...weights,
      ...read.flatMap(([name, value]) =>
        copies.map((nameOf, i) =>
          [nameOf(name), folded.tensorIn(SECOND + i + 1, name, value)!] as const
        )
      ),
    ]),
  };
}

/** Whether a constant belongs to the second block. */
function isOwn(name: string, value: Tensor, folded: FoldedBlocks): boolean {
  return folded.blockOf(name) === SECOND || value instanceof Parameter;
}

function copyOfCall(call: PreprocessingCall, rename: (name: string) => string): PreprocessingCall {
  const [made] = call.fetches.values();
  return renamed(call, rename, rename(made));
}

function copyOf(segment: Segment, rename: (name: string) => string): Segment {
  const { input, output, nodes } = segment;
  return {
    input: input && rename(input),
    output: rename(output),
    nodes,
    copyOf: { segment, rename },
  };
}

/** The second block's segments. */
interface RepeatedRange {
  readonly begin: number;
  /** Index of the segment after the last of them, the first of the last block. */
  readonly end: number;
  /** Names that differ from block to block. */
  readonly own: Set<string>;
  /** The value that enters the first of the segments, and the one that leaves the last. */
  readonly border: { readonly input: string; readonly output: string };
}

function findRepeatedRange(
  segments: readonly Segment[],
  context: PlanContext,
  folded: FoldedBlocks,
): RepeatedRange | undefined {
  const signatures = segments.map((segment) => signatureOf(context, segment));
  // The last segment is the head.
  for (let size = 1; 2 * size < segments.length; size++) {
    for (let begin = 1; begin + 2 * size < segments.length; begin++) {
      const end = begin + size;
      const own = ownNames(
        signatures.slice(begin, end),
        signatures.slice(end, end + size),
        context,
        folded,
      );
      const input = segments[begin].input;
      const output = segments[end - 1].output;
      if (own === undefined || input === undefined || !own.has(input)) continue;
      if (segments[end].input !== output) continue;
      return { begin, end, own, border: { input, output } };
    }
  }
}

/**
 * Names of the second block's segments that differ in the last block's; `undefined` where the ranges are not
 * the two blocks.
 */
function ownNames(
  second: readonly Signature[],
  last: readonly Signature[],
  { lowered }: PlanContext,
  folded: FoldedBlocks,
): Set<string> | undefined {
  const standsFor = new Map<string, string>();
  for (const [i, { text, names }] of second.entries()) {
    // Making the texts has read the constants written into graphs, so these are the same in all blocks.
    if (text !== last[i].text) return undefined;
    for (const [place, name] of names.entries()) {
      const other = last[i].names[place];
      if ((standsFor.get(name) ?? other) !== other) return undefined;
      standsFor.set(name, other);
    }
  }
  const own = new Set<string>();
  let ofBlock = 0;
  for (const [name, other] of standsFor) {
    const block = folded.blockOf(name);
    const constant = lowered.initializers.get(name);
    if (block !== undefined) {
      if (block !== SECOND || folded.counterpart(name, folded.count - 1) !== other) {
        return undefined;
      }
      own.add(name);
      ofBlock++;
    } else if (constant === undefined) {
      if (name !== other) own.add(name);
    } else {
      const there = lowered.initializers.get(other)!;
      const expected = folded.tensorIn(folded.count - 1, name, constant);
      if (expected !== undefined) own.add(name);
      // Equal constants that lowering made twice count as one.
      if (!haveSameContents(expected ?? constant, there)) return undefined;
    }
  }
  return ofBlock > 0 ? own : undefined;
}

function haveSameContents(a: Tensor, b: Tensor): boolean {
  if (isSized(a) || isSized(b)) return isSized(a) && isSized(b) && sizedName(a) === sizedName(b);
  return haveSameBytes(weightOf(a), weightOf(b));
}
