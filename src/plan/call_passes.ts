/** The passes over the graph of each call, once graft's own operators are expanded, in their order. */
import type { Graph } from "../graph/types.ts";
import { withBlocksInTurn } from "./blocks_in_turn.ts";
import { withColumnTiles } from "./column_tiles.ts";
import { withRowScalesDeferred } from "./defer_row_scales.ts";
import { withFewerReshapes } from "./fewer_reshapes.ts";
import type { Piece } from "./piece.ts";
import { applyPasses, type PassControl, type PlanningPass } from "./planning_pass.ts";

/** What a call is, as far as its passes go. */
export interface CallPassContext {
  /** Values that leave the call, which keep their names and shapes; what the call goes on from is first. */
  readonly outputs: ReadonlySet<string>;
  /**
   * Whether rows may be rounded before they have the scales of the product that made them
   * ({@linkcode withRowScalesDeferred}). Then the last bits of what is rounded depend on what else is
   * computed of it.
   */
  readonly defersScales: boolean;
  /** Whether what is wide is computed a few columns at a time ({@linkcode withColumnTiles}). */
  readonly inTiles: boolean;
}

export type CallPass = PlanningPass<Piece, CallPassContext>;

export const CALL_PASSES: readonly CallPass[] = [
  {
    name: "fewer-reshapes",
    does: "computes arithmetic over views of one shape in the shape of what they show",
    isOptional: true,
    apply: (piece, { outputs }) => withFewerReshapes(piece, outputs),
  },
  {
    name: "defer-row-scales",
    does: "gives rows that are only rounded again their scales when they are rounded",
    isOptional: true,
    apply: (piece, { outputs, defersScales }) =>
      defersScales ? withRowScalesDeferred(piece, outputs) : piece,
  },
  {
    name: "column-tiles",
    does: "computes what is wide in tiles of columns that a core's cache holds",
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
    does: "makes what is kept of a value before the call goes on from it",
    isOptional: true,
    apply: (piece, { outputs }) => ({ ...piece, nodes: keptFirst(piece, outputs) }),
  },
];

/**
 * Applies {@linkcode CALL_PASSES} to a call's graph.
 *
 * @param about what of it an observer is shown beside its nodes
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

/** A piece as a graph, to be looked at. */
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
 * Nodes whose results leave the call unread, but for that of its first output, behind all others. The
 * runtime computes the last such node first, with all that it needs: what is kept for the way back of
 * values that the call goes on from is then made beside them, and they do not wait for it.
 */
function keptFirst({ nodes }: Piece, [first]: Iterable<string>): Piece["nodes"] {
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const isLast = ({ outputs }: Piece["nodes"][number]) =>
    !outputs.includes(first) && !outputs.some((output) => read.has(output));
  return [...nodes.filter((node) => !isLast(node)), ...nodes.filter(isLast)];
}
