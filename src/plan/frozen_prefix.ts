/**
 * The part of a step below everything trained. Its result for a sequence is the same in every epoch, so it
 * can be computed once and stored.
 */
import { countIn, dimsIn, shapeIn, typeIn } from "../graph/facts.ts";
import { over, productOf, settled, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Graph } from "../graph/types.ts";
import { isWeighted, originalOf, type Segment } from "./cut.ts";
import type { BatchShape } from "./inputs.ts";
import { PACKED_SUFFIXES } from "./pack_tokens.ts";
import { TokenRows } from "./token_rows.ts";

/** Calls of a step with a single result that others read: a row of floats for each token. */
export interface FrozenPrefix {
  /** Index of the first call, the same in every schedule of a plan. */
  readonly start: number;
  /** Index of the call after the last. */
  readonly end: number;
  /** The result, float32. */
  readonly output: string;
  readonly dims: readonly number[];
  /** Elements per token's row. */
  readonly width: number;
  /** Whether the rows are packed (`packTokens`), or [batch · length]. */
  readonly packed: boolean;
  /**
   * Number of products with weights below it. This identifies the value in the model at every batch shape;
   * value names, and what remains of lookups, differ from shape to shape.
   */
  readonly depth: number;
}

/**
 * The longest run of frozen segments whose result has one row per token; `undefined` where there is none.
 *
 * @param frozen segments below the first trained one, in order
 * @param start number of calls before those of the first segment
 * @param padded the graph before its tokens were packed
 * @param lowered the graph that was cut
 * @param constants values that do not depend on an activation
 */
export function frozenPrefix(
  frozen: readonly Segment[],
  start: number,
  padded: Graph,
  lowered: Graph,
  shape: BatchShape & { readonly packedRows?: Extent },
  constants: ReadonlySet<string>,
): FrozenPrefix | undefined {
  if (frozen.length === 0) return undefined;
  const tokens = new TokenRows(padded, shape);
  for (let count = frozen.length; count > 0; count--) {
    const { output } = originalOf(frozen[count - 1]);
    const value = nameBeforePacking(output, padded);
    const lead = typeIn(padded, value) === undefined ? undefined : tokens.leadOf(value);
    if (lead === undefined || typeIn(lowered, output)?.dtype !== "float32") continue;
    const width = settled(productOf(shapeIn(padded, value).slice(lead)));
    const dims = dimsIn(lowered, output);
    const rows = over(countIn(lowered, output), width);
    const packed = rows === shape.packedRows;
    if (!packed && rows !== times(shape.batch, shape.length)) continue;
    const nodes = frozen.slice(0, count).flatMap((segment) => segment.nodes);
    const depth = nodes.filter((node) => isWeighted(node, constants)).length;
    return {
      start,
      end: start + count,
      output: frozen[count - 1].output,
      dims,
      width,
      packed,
      depth,
    };
  }
}

function nameBeforePacking(name: string, padded: Graph): string {
  if (typeIn(padded, name) !== undefined) return name;
  const suffix = PACKED_SUFFIXES.find((suffix) => name.endsWith(suffix));
  return suffix === undefined ? name : name.slice(0, -suffix.length);
}
