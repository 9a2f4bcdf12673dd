/** The adapter that a box begins a round with, at its own rank. */
import { randomFor } from "../../data/mod.ts";
import { TaskError } from "./task_error.ts";
import { float32, toNumbers } from "../../graph/tensor.ts";
import { matrixOf } from "../../linalg/matrix.ts";
import { svdOfProduct } from "../../linalg/svd.ts";
import { initAdapter } from "../../lora/init.ts";
import type { LoraWeights } from "../../lora/lora_weights.ts";
import { type FleetLayer, splitVector } from "./layout.ts";
import type { FleetTask } from "./task.ts";

/**
 * A of every layer as the seed gives it, and B zero: alike on all boxes of one rank and targets.
 *
 * @param layers in the order of the model
 */
export function seededAdapter(
  layers: readonly FleetLayer[],
  seed: number,
): ReadonlyMap<string, LoraWeights> {
  const sites = layers.map(({ name, rank, in: inFeatures, out: outFeatures }) => ({
    module: { path: name, inFeatures, outFeatures },
    rank,
  }));
  return initAdapter(sites, "kaiming", randomFor(seed, "adapter"));
}

/**
 * The adapter that came, in the layers of this box.
 *
 * @param own layers of this box, in the order of its model
 * @param vector that came; `undefined` for a fresh start
 * @throws {TaskError} if it is of another model, or of another rank where ranks must be equal
 */
export function startAdapter(
  task: Pick<FleetTask, "aggregation" | "layers" | "parts" | "seed">,
  own: readonly FleetLayer[],
  vector: Float32Array | undefined,
): ReadonlyMap<string, LoraWeights> {
  const seeded = seededAdapter(own, task.seed);
  if (vector === undefined || vector.length === 0) return seeded;
  const came = task.layers ?? own;
  checkLayers(came, own, task.aggregation === "stack");
  const weights = splitVector(vector, came, task.parts);
  return new Map(own.map((layer, i) => {
    const { name } = layer;
    const { a = seeded.get(name)!.a, b } = weights.get(name)!;
    return [name, atRank({ a, b }, came[i].rank, layer, seeded.get(name)!)];
  }));
}

function checkLayers(
  came: readonly FleetLayer[],
  own: readonly FleetLayer[],
  ranksMayDiffer: boolean,
): void {
  if (came.length !== own.length) {
    throw new TaskError(
      `The adapter has ${came.length} layers: this box adapts ${own.length}`,
    );
  }
  for (const [i, layer] of own.entries()) {
    const other = came[i];
    if (other.name !== layer.name || other.in !== layer.in || other.out !== layer.out) {
      throw new TaskError(
        `Layer ${i} of the adapter is not that of this box: other base or other target modules`,
      );
    }
    if (other.rank !== layer.rank && !ranksMayDiffer) {
      throw new TaskError(
        `The adapter has rank ${other.rank}: this box trains rank ${layer.rank}, which only ` +
          '"aggregation" stack allows',
      );
    }
  }
}

/**
 * The same update, or the nearest one, at another rank. The scale is alpha / rank, so that B·A has to
 * grow with the rank.
 */
function atRank(
  { a, b }: LoraWeights,
  before: number,
  { rank, in: inputs, out }: FleetLayer,
  seeded: LoraWeights,
): LoraWeights {
  if (rank === before) return { a, b };
  const growth = rank / before;
  const [valuesA, valuesB] = [toNumbers(a), toNumbers(b)].map((numbers) =>
    Float64Array.from(numbers as ArrayLike<number>)
  );
  const [newA, newB] = [new Float32Array(rank * inputs), new Float32Array(out * rank)];
  if (rank > before) {
    newA.set(toNumbers(seeded.a) as ArrayLike<number>);
    newA.set(valuesA);
    for (let n = 0; n < out; n++) {
      for (let r = 0; r < before; r++) newB[n * rank + r] = growth * valuesB[n * before + r];
    }
    return { a: float32([rank, inputs], newA), b: float32([out, rank], newB) };
  }
  const { u, s, v } = svdOfProduct(
    matrixOf(out, before, valuesB),
    matrixOf(before, inputs, valuesA),
  );
  // Directions without a share, as of an update of zero, start as seeded ones.
  const seededA = toNumbers(seeded.a) as ArrayLike<number>;
  for (let r = 0; r < rank; r++) {
    const root = Math.sqrt(growth * (s[r] ?? 0));
    const isEmpty = !(root > 0);
    for (let k = 0; k < inputs; k++) {
      newA[r * inputs + k] = isEmpty ? seededA[r * inputs + k] : root * v.values[k * v.cols + r];
    }
    for (let n = 0; n < out; n++) {
      newB[n * rank + r] = isEmpty ? 0 : root * u.values[n * u.cols + r];
    }
  }
  return { a: float32([rank, inputs], newA), b: float32([out, rank], newB) };
}
