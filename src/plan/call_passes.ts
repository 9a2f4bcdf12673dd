/** The passes over the graph of each call, in order, after graft's own operators are expanded. */
import type { Graph } from "../graph/types.ts";
import { withBlocksInTurn } from "./blocks_in_turn.ts";
import { withColumnTiles } from "./column_tiles.ts";
import { withRowScalesDeferred } from "./defer_row_scales.ts";
import { withFewerReshapes } from "./fewer_reshapes.ts";
import type { Piece } from "./piece.ts";
import { applyPasses, type PassControl, type PlanningPass } from "./planning_pass.ts";

/** What the passes need to know about a call. */
export interface CallPassContext {
  /**
   * Values that leave the call and so keep their names and shapes; the one that the next call continues from
   * is first.
   */
  readonly outputs: ReadonlySet<string>;
  /**
   * Whether rows may be rounded before they have the scales of the product that made them
   * ({@linkcode withRowScalesDeferred}). The last bits of rounded values then depend on what else is computed
   * from them.
   */
  readonly defersScales: boolean;
  /** Whether wide values are computed a few columns at a time ({@linkcode withColumnTiles}). */
  readonly inTiles: boolean;
}

export type CallPass = PlanningPass<Piece, CallPassContext>;

export const CALL_PASSES: readonly CallPass[] = [
  {
    name: "fewer-reshapes",
    does: "computes arithmetic over views of one shape in the shape of the viewed values",
    isOptional: true,
    apply: (piece, { outputs }) => withFewerReshapes(piece, outputs),
  },
  {
    name: "defer-row-scales",
    does: "multiplies rows that are only rounded again by their scales at that rounding",
    isOptional: true,
    apply: (piece, { outputs, defersScales }) =>
      defersScales ? withRowScalesDeferred(piece, outputs) : piece,
  },
  {
    name: "column-tiles",
    does: "computes wide values in tiles of columns that fit a core's cache",
    isOptional: true,
    apply: (piece, { outputs, inTiles }) => inTiles ? withColumnTiles(piece, outputs) : piece,
  },
  {
    name: "blocks-in-turn",
    does: "computes the blocks of an attention one after another",
    isOptional: true,
    apply: (piece) => withBlocksInTurn(piece),
  },
  {
    name: "kept-first",
    does: "makes the kept form of a value before the call continues from it",
    isOptional: true,
    apply: (piece, { outputs }) => ({ ...piece, nodes: keptFirst(piece, outputs) }),
  },
];

/**
 * Applies {@linkcode CALL_PASSES} to a call's graph.
 *
 * @param about what an observer is shown in addition to the nodes
 */
export function tidied(
  piece: Piece,
  context: CallPassContext,
  about: { readonly label: string; readonly inputs: ReadonlySet<string> },
  { without, onPass }: PassControl = {},
): Piece {
  return applyPasses(
    CALL_PASSES,
    piece,
    context,
    without,
    onPass && ((pass, made) =>
      onPass({
        pass,
        graph: graphOf(made, context.outputs),
        given: about.inputs,
        label: about.label,
      })),
  );
}

/** A piece as a graph, for an observer. */
function graphOf({ nodes, constants }: Piece, outputs: ReadonlySet<string>): Graph {
  return {
    name: "call",
    nodes,
    inputs: [],
    outputs: [...outputs].map((name) => ({ name })),
    initializers: constants,
    valueInfo: new Map(),
  };
}

/**
 * Moves nodes whose results leave the call unread behind all others, except that of the first output. The
 * runtime begins with the last such node and all that it needs: the kept form of a value is then made right
 * after the value, before the call continues from it, and the value need not stay in memory for it.
 */
function keptFirst({ nodes }: Piece, [first]: Iterable<string>): Piece["nodes"] {
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const isLast = ({ outputs }: Piece["nodes"][number]) =>
    !outputs.includes(first) && !outputs.some((output) => read.has(output));
  return [...nodes.filter((node) => !isLast(node)), ...nodes.filter(isLast)];
}
