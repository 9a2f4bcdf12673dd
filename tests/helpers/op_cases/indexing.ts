/** Cases of operators that read or write by index. */
import { int, string } from "../../../src/graph/attributes.ts";
import type { OpCase } from "../gradcheck.ts";
import { f, ic, is, typed } from "./inputs.ts";

const scattered = {
  title: "replacing",
  inputs: [
    f([3, 3]),
    typed("int64", [2, 3], [1, 0, 2, 0, 2, -2]),
    f([2, 3]),
  ],
};

export const INDEXING_CASES: readonly OpCase[] = [
  {
    title: "rows, one twice and one from the end",
    opType: "Gather",
    inputs: [f([4, 2]), typed("int64", [2, 2], [0, 2, 0, -1])],
  },
  {
    title: "the second axis",
    opType: "Gather",
    inputs: [f([2, 4, 2]), typed("int32", [3], [1, 1, 3])],
    attributes: { axis: int(1) },
  },
  {
    title: "one known index",
    opType: "Gather",
    inputs: [f([2, 4, 2]), is(-1)],
    attributes: { axis: int(1) },
  },
  { title: "one known index in a list", opType: "Gather", inputs: [f([4, 2]), ic(2)] },
  { title: "no index", opType: "Gather", inputs: [f([4, 2]), typed("int64", [0], [])] },
  {
    title: "the last axis",
    opType: "GatherElements",
    inputs: [f([2, 3]), typed("int64", [2, 2], [0, -1, 1, 1])],
    attributes: { axis: int(1) },
  },
  {
    title: "the first axis",
    opType: "GatherElements",
    inputs: [f([3, 2]), typed("int64", [2, 2], [2, 0, 2, 1])],
  },
  {
    title: "whole tuples, one twice",
    opType: "GatherND",
    inputs: [f([2, 3]), typed("int64", [3, 2], [0, 2, 1, -1, 0, 2])],
  },
  { title: "rows", opType: "GatherND", inputs: [f([3, 2]), typed("int64", [2, 1], [2, 0])] },
  {
    title: "in batches",
    opType: "GatherND",
    inputs: [f([2, 3, 2]), typed("int64", [2, 2, 1], [0, 2, 1, 1])],
    attributes: { batch_dims: int(1) },
  },
  { ...scattered, opType: "ScatterElements" },
  {
    ...scattered,
    title: "adding, one twice",
    opType: "ScatterElements",
    attributes: { axis: int(1), reduction: string("add") },
    inputs: [
      f([2, 3]),
      typed("int64", [2, 2], [1, 1, 0, 2]),
      f([2, 2]),
    ],
  },
  {
    title: "replacing rows",
    opType: "ScatterND",
    inputs: [f([3, 2]), typed("int64", [2, 1], [2, 0]), f([2, 2])],
  },
  {
    title: "adding elements",
    opType: "ScatterND",
    attributes: { reduction: string("add") },
    inputs: [
      f([3, 2]),
      typed("int64", [2, 2], [2, 0, 0, 1]),
      f([2]),
    ],
  },
  { title: "first axis", opType: "ArgMax", wrt: [], inputs: [f([3, 2])] },
  {
    title: "without the axis",
    opType: "ArgMin",
    wrt: [],
    inputs: [f([3, 2])],
    attributes: { axis: int(1), keepdims: int(0) },
  },
  { title: "two of each row", opType: "TopK", outputs: 2, inputs: [f([2, 4]), ic(2)] },
  { title: "none", opType: "TopK", outputs: 2, inputs: [f([2, 3]), ic(0)] },
  {
    title: "two of each column, counted in the attribute",
    opType: "TopK",
    opset: 9,
    outputs: 2,
    inputs: [f([4, 2])],
    attributes: { k: int(2), axis: int(0) },
  },
  {
    title: "a new last axis",
    opType: "OneHot",
    inputs: [
      typed("int64", [2], [0, 2]),
      is(3),
      { ...typed("float32", [2], [0, 1]), constant: true },
    ],
  },
  {
    title: "a new first axis",
    opType: "OneHot",
    attributes: { axis: int(0) },
    inputs: [
      typed("int64", [2], [0, 2]),
      ic(3),
      { ...typed("float32", [2], [0, 1]), constant: true },
    ],
  },
  {
    title: "a constant",
    opType: "NonZero",
    inputs: [{ ...typed("int64", [2, 2], [1, 0, 0, 3]), constant: true }],
  },
  {
    title: "all of the first axis, smallest first",
    opType: "TopK",
    outputs: 2,
    inputs: [f([3, 2]), ic(3)],
    attributes: {
      axis: int(0),
      largest: int(0),
    },
  },
];
