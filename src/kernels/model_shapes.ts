/** The distinct weight matrices of a model, as training uses them. */
import type { Model } from "../graph/types.ts";
import { findModules, type LinearModule } from "../lora/modules.ts";
import { HEAD_CHUNK } from "../plan/head_chunks.ts";
import type { StoredShape } from "./kernel_graphs.ts";

/** Measured if no model is named: the shapes of a small language model, 4 bits in blocks of 32. */
export const DEFAULT_SHAPES: readonly StoredShape[] = [[576, 576], [1536, 576], [576, 1536]].map(
  ([rows, columns]) => ({ rows, columns, bits: 4, blockSize: 32 }),
);

/** The shapes of a model's linear layers, each once; a language model's head as one of its chunks. */
export function modelShapes(model: Model): readonly StoredShape[] {
  return countedShapes(model).map(([first]) => first);
}

/** The shape that most of a model's weights have; `undefined` for a model without linear layers. */
export function commonShape(model: Model): StoredShape | undefined {
  const weights = (same: readonly StoredShape[]) => same.length * same[0].rows * same[0].columns;
  return countedShapes(model).toSorted((a, b) => weights(b) - weights(a))[0]?.[0];
}

function countedShapes(model: Model): readonly (readonly StoredShape[])[] {
  const shapes = findModules(model, { allowAmbiguous: true }).map(storedShape);
  return [...Map.groupBy(shapes, (shape) => JSON.stringify(shape)).values()];
}

function storedShape(module: LinearModule): StoredShape {
  const { kind, slice, outFeatures, inFeatures, bits, blockSize } = module;
  const blocks = kind === "MatMulNBits" && (bits === 4 || bits === 8);
  return {
    rows: Math.min(slice?.total ?? outFeatures, HEAD_CHUNK),
    columns: inFeatures,
    bits,
    ...(blocks ? { blockSize } : {}),
  };
}
