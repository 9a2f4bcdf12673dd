/**
 * Which elements of the original axis a resized axis reads, and with which weights.
 *
 * ONNX Runtime computes coordinates in float32, and so does this: half-way between two elements the last bit
 * decides which of them is the nearest.
 *
 * Sources: ONNX's Resize-19; ONNX Runtime's `upsamplebase.h`, `upsample.cc` and
 * `upsample_antialias.h`; R. Keys, "Cubic Convolution Interpolation for Digital Image Processing".
 */
import { range } from "./axes.ts";

/** One axis that is resized. */
export interface ResizedAxis {
  readonly axis: number;
  readonly from: number;
  readonly to: number;
  /** About `to / from`; a given scale need not be exactly that. */
  readonly scale: number;
  /** The region of interest, as fractions of the axis. */
  readonly roi: readonly [start: number, end: number];
}

/** What an output element is made of: indices of the original axis, and their weights. */
export type Taps = readonly (readonly [index: number, weight: number])[];

/** How values between elements are computed. */
export interface Interpolation {
  readonly antialias: boolean;
  /** Whether what would lie outside gets no weight; if not, the element at the end stands in for it. */
  readonly excludesOutside: boolean;
  /** The `a` of cubic interpolation. */
  readonly coefficient: number;
}

type Transformation = (x: number, axis: ResizedAxis) => number;

const f32 = Math.fround;

const halfPixel: Transformation = (x, { scale }) => f32(f32((x + 0.5) / scale) - 0.5);

const TRANSFORMATIONS: ReadonlyMap<string, Transformation> = new Map<string, Transformation>([
  ["half_pixel", halfPixel],
  ["asymmetric", (x, { scale }) => f32(x / scale)],
  ["pytorch_half_pixel", (x, axis) => axis.to > 1 ? halfPixel(x, axis) : 0],
  ["tf_half_pixel_for_nn", (x, { scale }) => f32((x + 0.5) / scale)],
  ["align_corners", (x, { from, to }) => to === 1 ? 0 : f32(f32(x * (from - 1)) / (to - 1))],
  ["tf_crop_and_resize", (x, { from, to, roi: [start, end] }) => {
    if (to <= 1) return f32(0.5 * f32(start + end) * (from - 1));
    const along = f32(f32(f32(x * f32(end - start)) * (from - 1)) / (to - 1));
    return f32(f32(start * (from - 1)) + along);
  }],
  ["half_pixel_symmetric", (x, { from, to, scale }) => {
    const adjustment = f32(to / f32(scale * from));
    const offset = f32(from / 2 * f32(1 - adjustment));
    return f32(offset + (x + 0.5) / scale - 0.5);
  }],
]);

/** Coordinates of the original axis by the name of a transformation; `undefined` for unknown ones. */
export function coordinatesOf(transformation: string, axis: ResizedAxis): number[] | undefined {
  const original = TRANSFORMATIONS.get(transformation);
  return original && range(axis.to).map((x) => original(x, axis));
}

/** Half away from zero, as C's `round`. */
const round = (x: number) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);

const NEAREST: ReadonlyMap<string, (x: number, scale: number) => number> = new Map([
  ["round_prefer_floor", (x: number) => x === Math.trunc(x) + 0.5 ? Math.floor(x) : round(x)],
  ["round_prefer_ceil", round],
  ["floor", Math.floor],
  ["ceil", Math.ceil],
  // Before operator set 11.
  ["simple", (x: number, scale: number) => scale < 1 ? Math.ceil(x) : Math.trunc(x)],
]);

const within = (index: number, size: number) => Math.min(Math.max(index, 0), size - 1);

/** The index nearest to each coordinate by the name of a rounding; `undefined` for unknown ones. */
export function nearestOf(
  rounding: string,
  coordinates: readonly number[],
  { from, scale }: ResizedAxis,
): number[] | undefined {
  const nearest = NEAREST.get(rounding);
  return nearest && coordinates.map((x) => within(nearest(x, scale), from));
}

/** Weights of a window's elements, the first of which has index `first`, that add up to one. */
function windowTaps(
  first: number,
  weights: readonly number[],
  from: number,
  excludesOutside: boolean,
): Taps {
  const all = weights.map((weight, i) => [first + i, weight] as const);
  const taken = excludesOutside ? all.filter(([index]) => index === within(index, from)) : all;
  const total = taken.reduce((sum, [, weight]) => sum + weight, 0) || 1;
  return taken.map(([index, weight]) => [within(index, from), weight / total]);
}

/** The kernel of linear interpolation. */
const triangle = (x: number) => Math.max(0, 1 - Math.abs(x));

/** The kernel of cubic interpolation. */
function keys(a: number): (x: number) => number {
  return (signed) => {
    const x = Math.abs(signed);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
  };
}

/** Half the elements that a kernel spans. */
const RADIUS = { linear: 1, cubic: 2 } as const;

/** When shrinking, the kernel is as wide as the distance between the elements that remain. */
function antialiased(
  coordinates: readonly number[],
  { from, scale }: ResizedAxis,
  kernel: (x: number) => number,
  radius: number,
  excludesOutside: boolean,
): Taps[] {
  const stretch = Math.max(1, f32(1 / scale));
  const support = f32(radius * stretch);
  return coordinates.map((x) => {
    const centre = f32(0.5 + x);
    const first = Math.floor(f32(f32(centre - support) + 0.5));
    const end = Math.floor(f32(f32(centre + support) + 0.5));
    const weights = range(Math.min(end - first, 2 * Math.ceil(support) + 1))
      .map((i) => kernel((i + first - centre + 0.5) / stretch));
    return windowTaps(first, weights, from, excludesOutside);
  });
}

/** The taps of each coordinate of an axis. */
export function tapsOf(
  mode: "linear" | "cubic",
  coordinates: readonly number[],
  axis: ResizedAxis,
  { antialias, excludesOutside, coefficient }: Interpolation,
): Taps[] {
  const kernel = mode === "linear" ? triangle : keys(coefficient);
  if (antialias) {
    return antialiased(coordinates, axis, kernel, RADIUS[mode], excludesOutside);
  }
  return coordinates.map((given) => {
    // Linear interpolation never reads outside; cubic has neighbours there.
    const x = mode === "linear" ? within(given, axis.from) : given;
    const first = Math.floor(x) - (RADIUS[mode] - 1);
    const weights = range(2 * RADIUS[mode]).map((i) => kernel(first + i - x));
    return windowTaps(first, weights, axis.from, mode === "cubic" && excludesOutside);
  });
}
