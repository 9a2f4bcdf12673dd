/** Cases of operators on images: convolutions and pooling; resizing has a file of its own. */
import { int, ints, string } from "../../../src/graph/attributes.ts";
import type { OpCase } from "../gradcheck.ts";
import { f, fc } from "./inputs.ts";
import { RESIZE_CASES } from "./resizing.ts";

/** Numbers of which no two are close, in no order: the largest of a window stays so when one moves. */
const apart = (count: number) => Array.from({ length: count }, (_, i) => (i * 37 % count) / 8 - 2);

export const IMAGE_CASES: readonly OpCase[] = [
  {
    title: "one axis, padded",
    opType: "Conv",
    attributes: { pads: ints([1, 1]) },
    inputs: [f([2, 2, 4]), f([3, 2, 3]), f([3])],
  },
  {
    title: "two axes, strides and dilations",
    opType: "Conv",
    attributes: {
      strides: ints([2, 1]),
      dilations: ints([1, 2]),
      pads: ints([1, 0, 0, 2]),
    },
    inputs: [f([1, 2, 5, 4]), f([2, 2, 2, 2])],
  },
  {
    title: "groups",
    opType: "Conv",
    attributes: { group: int(2) },
    inputs: [f([1, 4, 3]), fc([2, 2, 2])],
  },
  {
    title: "auto_pad",
    opType: "Conv",
    attributes: { auto_pad: string("SAME_UPPER"), strides: ints([2]) },
    inputs: [
      f([1, 1, 5]),
      f([1, 1, 2]),
    ],
  },
  {
    title: "strides and padding",
    opType: "ConvTranspose",
    wrt: [0],
    attributes: {
      strides: ints([2]),
      pads: ints([1, 0]),
      output_padding: ints([1]),
    },
    inputs: [f([1, 2, 3]), f([2, 2, 3])],
  },
  {
    title: "without padding",
    opType: "AveragePool",
    inputs: [f([1, 2, 4])],
    attributes: {
      kernel_shape: ints([2]),
      strides: ints([2]),
    },
  },
  {
    title: "padding not counted",
    opType: "AveragePool",
    inputs: [f([1, 1, 3, 3])],
    attributes: {
      kernel_shape: ints([2, 2]),
      pads: ints([1, 0, 1, 1]),
    },
  },
  {
    title: "padding counted",
    opType: "AveragePool",
    inputs: [f([1, 1, 3])],
    attributes: {
      kernel_shape: ints([2]),
      pads: ints([1, 1]),
      count_include_pad: int(1),
    },
  },
  { title: "texts", opType: "GlobalAveragePool", inputs: [f([2, 3, 5])] },
  { title: "zeros", opType: "GlobalAveragePool", inputs: [f([1, 2, 2], [0, 0, 0, 0])] },
  { title: "images", opType: "GlobalAveragePool", inputs: [f([2, 2, 2, 3])] },
  { title: "images", opType: "GlobalMaxPool", inputs: [f([2, 2, 2, 3])] },
  { title: "texts", opType: "GlobalMaxPool", inputs: [f([2, 3, 5])] },
  {
    title: "windows that share elements, with padding",
    opType: "MaxPool",
    inputs: [f([2, 2, 5, 4])],
    attributes: {
      kernel_shape: ints([3, 3]),
      strides: ints([2, 2]),
      pads: ints([1, 1, 1, 1]),
    },
  },
  {
    title: "dilated windows of texts",
    opType: "MaxPool",
    inputs: [f([1, 3, 7])],
    attributes: {
      kernel_shape: ints([2]),
      dilations: ints([2]),
    },
  },
  ...["SAME_UPPER", "SAME_LOWER", "VALID"].map((mode): OpCase => ({
    title: `${mode}, an even kernel`,
    opType: "Conv",
    attributes: { auto_pad: string(mode) },
    inputs: [f([1, 1, 5]), f([2, 1, 4])],
  })),
  {
    title: "ceil_mode where it changes nothing",
    opType: "AveragePool",
    inputs: [f([1, 1, 4])],
    attributes: {
      kernel_shape: ints([2]),
      strides: ints([2]),
      ceil_mode: int(1),
    },
  },
  {
    title: "a weight in two groups, strides, dilations and a bias",
    opType: "Conv",
    attributes: {
      group: int(2),
      strides: ints([2]),
      dilations: ints([2]),
      pads: ints([1, 2]),
    },
    inputs: [f([2, 4, 7]), f([6, 2, 3]), f([6])],
  },
  {
    title: "each channel by itself",
    opType: "Conv",
    attributes: { group: int(3), pads: ints([1, 1, 1, 1]) },
    inputs: [f([2, 3, 3, 4]), f([3, 1, 3, 3]), f([3])],
  },
  {
    title: "three axes",
    opType: "Conv",
    attributes: { strides: ints([1, 2, 1]) },
    inputs: [f([1, 2, 3, 4, 2]), f([2, 2, 2, 2, 1])],
  },
  {
    title: "at zero",
    opType: "Conv",
    inputs: [f([1, 1, 4], [0, 0, 0, 0]), f([1, 1, 2], [0, 1]), f([1], [0])],
  },
  {
    title: "weight and bias, plain",
    opType: "ConvTranspose",
    inputs: [f([2, 3, 4]), f([3, 2, 3]), f([2])],
  },
  {
    title: "two axes, strides, dilations, padding",
    opType: "ConvTranspose",
    attributes: {
      strides: ints([2, 1]),
      dilations: ints([1, 2]),
      pads: ints([1, 0, 0, 1]),
      output_padding: ints([1, 0]),
    },
    inputs: [f([2, 2, 3, 4]), f([2, 3, 2, 2]), f([3])],
  },
  {
    title: "two groups",
    opType: "ConvTranspose",
    attributes: { group: int(2), strides: ints([2]) },
    inputs: [f([2, 4, 3]), f([4, 3, 3]), f([6])],
  },
  {
    title: "each channel by itself, a kernel of one",
    opType: "ConvTranspose",
    attributes: { group: int(3), strides: ints([2, 2]), kernel_shape: ints([1, 1]) },
    inputs: [f([1, 3, 2, 2]), f([3, 1, 1, 1])],
  },
  ...["SAME_UPPER", "SAME_LOWER", "VALID"].map((mode): OpCase => ({
    title: `${mode}, an even kernel`,
    opType: "ConvTranspose",
    attributes: { auto_pad: string(mode), strides: ints([2]) },
    inputs: [f([1, 2, 3]), f([2, 1, 5])],
  })),
  ...["NOTSET", "SAME_UPPER", "SAME_LOWER"].map((mode): OpCase => ({
    title: `output_shape, ${mode}`,
    opType: "ConvTranspose",
    attributes: { auto_pad: string(mode), strides: ints([2]), output_shape: ints([6]) },
    inputs: [f([1, 2, 3]), f([2, 1, 4]), f([1])],
  })),
  {
    title: "output_shape larger than what is covered",
    opType: "ConvTranspose",
    attributes: { strides: ints([3]), output_shape: ints([9]) },
    inputs: [f([1, 1, 3]), f([1, 1, 2]), f([1])],
  },
  ...[0, 1].flatMap((counted) =>
    [11, 21].flatMap((opset): OpCase[] => [
      {
        title: `ceil_mode, count_include_pad ${counted}, operator set ${opset}`,
        opType: "AveragePool",
        opset,
        attributes: {
          kernel_shape: ints([3, 2]),
          strides: ints([2, 2]),
          pads: ints([1, 0, 1, 1]),
          ceil_mode: int(1),
          count_include_pad: int(counted),
        },
        inputs: [f([1, 2, 6, 5])],
      },
      {
        title: `ceil_mode, one axis, count_include_pad ${counted}, operator set ${opset}`,
        opType: "AveragePool",
        opset,
        attributes: {
          kernel_shape: ints([3]),
          strides: ints([3]),
          pads: ints([1, 1]),
          ceil_mode: int(1),
          count_include_pad: int(counted),
        },
        inputs: [f([1, 1, 6])],
      },
      {
        title: `ceil_mode, no window begins in the padding ${counted}, operator set ${opset}`,
        opType: "AveragePool",
        opset,
        attributes: {
          kernel_shape: ints([2]),
          strides: ints([2]),
          pads: ints([0, 1]),
          ceil_mode: int(1),
          count_include_pad: int(counted),
        },
        inputs: [f([1, 1, 4])],
      },
    ])
  ),
  ...["SAME_UPPER", "SAME_LOWER", "VALID"].flatMap((mode): OpCase[] =>
    [0, 1].map((counted) => ({
      title: `${mode}, count_include_pad ${counted}`,
      opType: "AveragePool",
      attributes: {
        kernel_shape: ints([2, 3]),
        strides: ints([1, 2]),
        auto_pad: string(mode),
        count_include_pad: int(counted),
      },
      inputs: [f([1, 2, 3, 6])],
    }))
  ),
  ...[0, 1].map((counted): OpCase => ({
    title: `dilations, count_include_pad ${counted}`,
    opType: "AveragePool",
    attributes: {
      kernel_shape: ints([2, 2]),
      dilations: ints([2, 1]),
      pads: ints([1, 0, 1, 1]),
      count_include_pad: int(counted),
    },
    inputs: [f([1, 2, 4, 3])],
  })),
  {
    title: "dilations and ceil_mode",
    opType: "AveragePool",
    attributes: {
      kernel_shape: ints([2]),
      dilations: ints([3]),
      strides: ints([2]),
      pads: ints([1, 1]),
      ceil_mode: int(1),
      count_include_pad: int(1),
    },
    inputs: [f([1, 1, 6])],
  },
  {
    title: "three axes",
    opType: "AveragePool",
    attributes: { kernel_shape: ints([2, 1, 2]), pads: ints([1, 0, 0, 0, 0, 1]) },
    inputs: [f([1, 2, 2, 3, 2])],
  },
  {
    title: "ceil_mode",
    opType: "MaxPool",
    attributes: { kernel_shape: ints([2, 3]), strides: ints([2, 2]), ceil_mode: int(1) },
    inputs: [f([1, 2, 5, 6], apart(60))],
  },
  {
    title: "ceil_mode and padding",
    opType: "MaxPool",
    attributes: {
      kernel_shape: ints([3]),
      strides: ints([3]),
      pads: ints([1, 1]),
      ceil_mode: int(1),
    },
    inputs: [f([1, 1, 6], apart(6))],
  },
  ...RESIZE_CASES,
];
