/** Cases of Resize and Upsample. */
import { float, floats, int, ints, string } from "../../../src/graph/attributes.ts";
import type { OpCase } from "../gradcheck.ts";
import { f, fc, ic } from "./inputs.ts";

type Given = Pick<OpCase, "title" | "attributes">;

/** An image resized by scales. */
const scaled = (given: Given, dims: readonly number[], ...scales: readonly number[]): OpCase => ({
  ...given,
  title: `${given.title}, [${dims}] by [${scales}]`,
  opType: "Resize",
  inputs: [f(dims), undefined, fc([scales.length], scales)],
});

/** An image resized to sizes. */
const sized = (given: Given, dims: readonly number[], ...sizes: readonly number[]): OpCase => ({
  ...given,
  title: `${given.title}, [${dims}] to [${sizes}]`,
  opType: "Resize",
  inputs: [f(dims), undefined, undefined, ic(...sizes)],
});

/** A part of an image, resized. */
const cropped = (
  mode: string,
  attributes: OpCase["attributes"],
  roi: readonly number[],
  dims: readonly number[],
  ...sizes: readonly number[]
): OpCase => ({
  title: `${mode} of [${roi}] of [${dims}], ${Object.keys(attributes!)}`,
  opType: "Resize",
  attributes: {
    mode: string(mode),
    coordinate_transformation_mode: string("tf_crop_and_resize"),
    ...attributes,
  },
  inputs: [f(dims), fc([roi.length], roi), undefined, ic(...sizes)],
});

const COORDINATES = [
  "half_pixel",
  "asymmetric",
  "pytorch_half_pixel",
  "align_corners",
  "half_pixel_symmetric",
];
const ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];

const given = (title: string, attributes: OpCase["attributes"]): Given => ({ title, attributes });

const ofMode = (mode: string, attributes: OpCase["attributes"] = {}) =>
  given([mode, ...Object.keys(attributes!)].join(", "), { mode: string(mode), ...attributes });

export const RESIZE_CASES: readonly OpCase[] = [
  ...COORDINATES.flatMap((transformation) => {
    const attributes = { coordinate_transformation_mode: string(transformation) };
    return [
      ...ROUNDINGS.flatMap((rounding) => {
        const nearest = given(`nearest, ${transformation}, ${rounding}`, {
          ...attributes,
          nearest_mode: string(rounding),
        });
        return [
          scaled(nearest, [1, 2, 3, 4], 1, 1, 2, 1.6),
          sized(nearest, [1, 1, 5, 6], 1, 1, 3, 2),
        ];
      }),
      ...["linear", "cubic"].flatMap((mode) => {
        const mixed = given(`${mode}, ${transformation}`, { ...attributes, mode: string(mode) });
        return [
          scaled(mixed, [1, 2, 3, 4], 1, 1, 2, 1.6),
          sized(mixed, [2, 1, 5, 6], 2, 1, 3, 1),
        ];
      }),
    ];
  }),
  {
    title: "nearest, tf_half_pixel_for_nn, an empty region",
    opType: "Resize",
    opset: 11,
    attributes: { coordinate_transformation_mode: string("tf_half_pixel_for_nn") },
    inputs: [f([1, 1, 3, 4]), fc([0], []), fc([4], [1, 1, 1.5, 0.5])],
  },
  scaled(ofMode("nearest"), [4], 2.5),
  scaled(ofMode("nearest"), [2, 3], 2, 3),
  scaled(ofMode("nearest"), [2, 3, 2], 1.5, 1, 2),
  scaled(ofMode("nearest"), [1, 2, 2, 2, 2], 1, 1, 2, 1, 3),
  scaled(ofMode("linear"), [3, 4], 2, 0.5),
  scaled(ofMode("linear"), [1, 2, 5], 1, 1, 1.7),
  scaled(ofMode("linear"), [1, 2, 2, 3, 2], 1, 1, 2, 1.5, 2),
  scaled(ofMode("linear"), [1, 3, 4, 2], 1, 2, 0.75, 1),
  scaled(ofMode("cubic"), [3, 4], 2, 1.5),
  sized(ofMode("linear"), [1, 1, 4, 1], 1, 1, 1, 3),
  sized(ofMode("cubic"), [1, 1, 4, 1], 1, 1, 7, 3),
  // As many elements as there were, and yet another scale: read in another way, unless no size differs.
  scaled(ofMode("linear"), [1, 1, 4, 4], 1, 1, 1.2, 2),
  scaled(ofMode("linear"), [1, 1, 4, 4], 1, 1, 1.2, 1.1),
  scaled(ofMode("cubic", { cubic_coeff_a: float(-0.5) }), [1, 1, 4, 3], 1, 1, 1.5, 2),
  scaled(ofMode("cubic", { exclude_outside: int(1) }), [1, 1, 4, 3], 1, 1, 1.5, 2),
  sized(
    ofMode("cubic", { exclude_outside: int(1), cubic_coeff_a: float(-0.5) }),
    [1, 1, 6, 5],
    1,
    1,
    4,
    3,
  ),
  ...["linear", "cubic"].flatMap((mode) => [
    sized(ofMode(mode, { antialias: int(1) }), [1, 2, 6, 7], 1, 2, 3, 2),
    scaled(ofMode(mode, { antialias: int(1) }), [1, 1, 4, 5], 1, 1, 2, 0.6),
    sized(
      ofMode(mode, { antialias: int(1), exclude_outside: int(1) }),
      [1, 1, 7, 5],
      1,
      1,
      2,
      4,
    ),
  ]),
  sized(ofMode("linear", { antialias: int(1) }), [1, 1, 4, 5, 3], 1, 1, 2, 3, 2),
  sized(
    ofMode("cubic", { antialias: int(1), cubic_coeff_a: float(-0.5) }),
    [1, 1, 6, 5],
    1,
    1,
    3,
    2,
  ),
  sized(
    ofMode("linear", {
      antialias: int(1),
      coordinate_transformation_mode: string("align_corners"),
    }),
    [1, 1, 6, 5],
    1,
    1,
    3,
    2,
  ),
  sized(ofMode("linear", { axes: ints([2, 3]) }), [1, 2, 3, 4], 5, 2),
  sized(ofMode("nearest", { axes: ints([3, 2]) }), [1, 2, 3, 4], 2, 6),
  scaled(ofMode("nearest", { axes: ints([1]) }), [1, 2, 3], 3),
  ...["not_larger", "not_smaller", "stretch"].map((policy) =>
    sized(
      ofMode("linear", { keep_aspect_ratio_policy: string(policy), axes: ints([2, 3]) }),
      [1, 1, 3, 4],
      7,
      6,
    )
  ),
  ...["nearest", "linear", "cubic"].flatMap((mode) => [
    cropped(mode, {}, [0, 0, 0.25, 0, 1, 1, 0.75, 0.8], [1, 1, 4, 5], 1, 1, 3, 4),
    cropped(
      mode,
      { extrapolation_value: float(7.5) },
      [0, 0, -0.25, 0.4, 1, 1, 0.75, 1.4],
      [1, 2, 4, 5],
      1,
      2,
      3,
      1,
    ),
    cropped(mode, { axes: ints([2, 3]) }, [0.5, 0.2, 1.2, 0.6], [1, 1, 4, 5], 4, 3),
  ]),
  {
    title: "nearest, operator set 10",
    opType: "Resize",
    opset: 10,
    inputs: [f([1, 1, 4, 6]), fc([4], [1, 1, 1.5, 0.4])],
  },
  {
    title: "linear, operator set 10",
    opType: "Resize",
    opset: 10,
    attributes: { mode: string("linear") },
    inputs: [f([1, 1, 4, 6]), fc([4], [1, 1, 1.5, 0.5])],
  },
  {
    title: "an axis too long for a matrix of weights",
    opType: "Resize",
    attributes: { mode: string("linear") },
    wrt: [],
    inputs: [f([1, 1, 2, 2048]), undefined, undefined, ic(1, 1, 1, 3001)],
  },
  {
    title: "an axis with many weights for each element",
    opType: "Resize",
    attributes: { mode: string("linear"), antialias: int(1) },
    wrt: [],
    inputs: [f([1, 1, 2, 20000]), undefined, undefined, ic(1, 1, 2, 250)],
  },
  {
    title: "nothing to do",
    opType: "Resize",
    inputs: [f([1, 2, 2]), undefined, fc([3], [1, 1, 1])],
  },
  {
    title: "zeros",
    opType: "Resize",
    attributes: { mode: string("linear") },
    inputs: [f([1, 1, 2, 2], [0, 0, 0, 0]), undefined, fc([4], [1, 1, 2, 2])],
  },
  {
    title: "scales in an attribute",
    opType: "Upsample",
    opset: 8,
    attributes: { scales: floats([1, 1, 2, 2]) },
    inputs: [f([1, 2, 2, 3])],
  },
  {
    title: "linear, constant scales",
    opType: "Upsample",
    opset: 9,
    attributes: { mode: string("linear") },
    inputs: [f([1, 2, 2, 3]), fc([4], [1, 1, 2, 1.5])],
  },
];
