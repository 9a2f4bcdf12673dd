/** How the matrices of an adapter lie in the one vector that travels (docs/design/fleet.md). */
import { TaskError } from "./task_error.ts";
import { elementCount, float32, type Tensor, toNumbers } from "../../graph/tensor.ts";
import type { LoraWeights } from "../../lora/lora_weights.ts";

/** An adapted layer: A is [rank, in], B [out, rank]. */
export interface FleetLayer {
  /** The module's path, as PEFT names it. */
  readonly name: string;
  readonly rank: number;
  readonly in: number;
  readonly out: number;
}

/** What travels of each layer. */
export type Parts = "AB" | "B";

const MOST_LAYERS = 10_000;
const LONGEST_NAME = 512;
const LARGEST_RANK = 4096;
const LARGEST_SIDE = 1 << 24;

/**
 * Reads the JSON of a layout.
 *
 * @throws {TaskError} for anything but a list of layers with different names
 */
export function parseLayers(text: string): FleetLayer[] {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw new TaskError("The layout is no JSON");
  }
  if (!Array.isArray(found) || found.length > MOST_LAYERS) {
    throw new TaskError(`The layout is no list of at most ${MOST_LAYERS} layers`);
  }
  const layers = found.map(parseLayer);
  if (new Set(layers.map(({ name }) => name)).size !== layers.length) {
    throw new TaskError("The layout names a layer twice");
  }
  return layers;
}

function parseLayer(value: unknown, index: number): FleetLayer {
  const { name, rank, in: inputs, out } = (value ?? {}) as Record<string, unknown>;
  const size = (what: string, value: unknown, most: number): number => {
    if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most) {
      return value as number;
    }
    throw new TaskError(
      `Layer ${index} of the layout: "${what}" must be between 1 and ${most}: current value is ` +
        `${JSON.stringify(value)?.slice(0, 80)}`,
    );
  };
  if (typeof name !== "string" || name === "" || name.length > LONGEST_NAME) {
    throw new TaskError(`Layer ${index} of the layout has no name`);
  }
  return {
    name,
    rank: size("rank", rank, LARGEST_RANK),
    in: size("in", inputs, LARGEST_SIDE),
    out: size("out", out, LARGEST_SIDE),
  };
}

/** The JSON of a layout. */
export function formatLayers(layers: readonly FleetLayer[]): string {
  return JSON.stringify(layers.map(({ name, rank, in: inputs, out }) => ({
    ...{ name, rank, in: inputs, out },
  })));
}

/** Numbers of a vector. */
export function countNumbers(layers: readonly FleetLayer[], parts: Parts): number {
  return layers.reduce(
    (sum, { rank, in: inputs, out }) => sum + rank * (out + (parts === "AB" ? inputs : 0)),
    0,
  );
}

/** A layer's matrices; A stays where it is if only B travels. */
export interface TraveledWeights {
  readonly a?: Tensor;
  readonly b: Tensor;
}

/**
 * The matrices in a vector, by layer.
 *
 * @throws {TaskError} for a vector of another length
 */
export function splitVector(
  vector: Float32Array,
  layers: readonly FleetLayer[],
  parts: Parts,
): ReadonlyMap<string, TraveledWeights> {
  const expected = countNumbers(layers, parts);
  if (vector.length !== expected) {
    throw new TaskError(
      `The adapter has ${vector.length} numbers: its layout has ${expected}`,
    );
  }
  let at = 0;
  const take = (dims: readonly number[]) => {
    const count = elementCount(dims);
    return float32(dims, vector.slice(at, at += count));
  };
  return new Map(layers.map(({ name, rank, in: inputs, out }) => {
    const a = parts === "AB" ? take([rank, inputs]) : undefined;
    return [name, { ...(a && { a }), b: take([out, rank]) }];
  }));
}

/** The vector of matrices. */
export function joinVector(
  weights: ReadonlyMap<string, LoraWeights>,
  layers: readonly FleetLayer[],
  parts: Parts,
): Float32Array<ArrayBuffer> {
  const vector = new Float32Array(countNumbers(layers, parts));
  let at = 0;
  for (const { name } of layers) {
    const { a, b } = weights.get(name)!;
    for (const tensor of parts === "AB" ? [a, b] : [b]) {
      const numbers = toNumbers(tensor);
      vector.set(numbers as ArrayLike<number>, at);
      at += numbers.length;
    }
  }
  return vector;
}
