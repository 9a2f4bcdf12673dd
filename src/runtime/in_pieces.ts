/** Runs a graph once, piece by piece, so that only the weights of one piece are in memory. */
import { type Piece, piecesOf } from "../graph/pieces.ts";
import type { Model } from "../graph/types.ts";
import { isRandom } from "../ops/kinds.ts";
import {
  type CompileOptions,
  type DeviceTensor,
  OWN_ARENA,
  type Runnable,
  type Runner,
} from "./runner.ts";

type Tensors = Readonly<Record<string, DeviceTensor>>;

/**
 * Every run creates and releases the sessions of its pieces.
 *
 * @param model a model whose values between nodes are tensors
 * @param weightBytes most bytes of a session's weights, unless a single node reads more
 */
export function inPieces(
  runner: Runner,
  model: Model,
  weightBytes: number,
  options: CompileOptions = {},
): Runnable {
  const all = model.graph.outputs.map(({ name }) => name);
  // All outputs stay outputs, because the runtime treats other values differently.
  const pieces = piecesOf(model.graph, weightBytes, all, isRandom);
  const compile = { ...options, config: { ...OWN_ARENA, ...options.config } };
  return {
    async run(feeds, fetches = all) {
      const known = new Map(Object.entries(feeds));
      using values = new DisposableStack();
      using untilDone = new DisposableStack();
      const needed = new Set([...fetches, ...pieces.flatMap(({ reads }) => reads)]);
      for (const piece of pieces) {
        const read = Object.fromEntries(piece.reads.map((name) => [name, known.get(name)!]));
        using session = await runner.compile(modelOf(piece, read, model), compile);
        const makes = piece.makes.filter((name) => needed.has(name));
        for (const [name, made] of Object.entries(await session.run(read, makes))) {
          // A copy, because a session's result keeps all of its memory alive, repacked weights included.
          using original = made;
          const owner = fetches.includes(name) ? untilDone : values;
          known.set(name, owner.use(runner.upload(original.view())));
        }
      }
      untilDone.move();
      return Object.fromEntries(fetches.map((name) => [name, known.get(name)!]));
    },
  };
}

/** A piece as a model, for its input tensors. */
function modelOf({ nodes, makes, initializers }: Piece, read: Tensors, model: Model): Model {
  const inputs = Object.entries(read)
    .map(([name, { dtype, dims: shape }]) => ({ name, type: { dtype, shape } }));
  const outputs = makes.map((name) => ({ name }));
  const { name } = model.graph;
  return { ...model, graph: { name, nodes, initializers, inputs, outputs, valueInfo: new Map() } };
}
