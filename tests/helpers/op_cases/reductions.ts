/** Cases of reductions and softmaxes. */
import { int, ints } from "../../../src/graph/attributes.ts";
import type { OpCase } from "../gradcheck.ts";
import { f, ic, typed } from "./inputs.ts";

const distinct = [0.3, -1.2, 2.1, 0.9, -0.4, 1.5, -2.2, 0.1, 0.6, -0.7, 1.1, 2.6];
const apart = (dims: number[]) => f(dims, distinct.slice(0, dims.reduce((x, y) => x * y, 1)));

function reduction(opType: string, attributeUntil: number): OpCase[] {
  return [
    { title: "the last axis", opType, inputs: [apart([2, 3]), ic(-1)] },
    {
      title: "two axes, not kept",
      opType,
      inputs: [apart([2, 3, 2]), ic(0, 2)],
      attributes: { keepdims: int(0) },
    },
    { title: "all axes", opType, inputs: [apart([2, 2])] },
    {
      title: "all axes, not kept",
      opType,
      inputs: [apart([2, 2])],
      attributes: { keepdims: int(0) },
    },
    {
      title: "axes as an attribute",
      opType,
      opset: attributeUntil,
      inputs: [apart([2, 3])],
      attributes: { axes: ints([0]) },
    },
  ];
}

export const REDUCTION_CASES: readonly OpCase[] = [
  ...reduction("ReduceSum", 11),
  {
    title: "no axes and none meant",
    opType: "ReduceSum",
    inputs: [f([2, 2])],
    attributes: { noop_with_empty_axes: int(1) },
  },
  { title: "no elements", opType: "ReduceSum", inputs: [f([0, 2]), ic(0)] },
  {
    title: "whole numbers",
    opType: "ReduceSum",
    inputs: [typed("int64", [2, 2], [1, 2, 3, 4]), ic(1)],
  },
  ...reduction("ReduceMean", 14),
  { title: "along nothing", opType: "ReduceMean", inputs: [f([0, 2]), ic(1)] },
  ...reduction("ReduceMax", 13),
  {
    title: "whole numbers",
    opType: "ReduceMax",
    inputs: [typed("int64", [3], [1, 7, 3])],
    attributes: { keepdims: int(0) },
  },
  ...reduction("ReduceMin", 13),
  {
    title: "counts",
    opType: "ReduceProd",
    inputs: [typed("int64", [3], [2, 7, 3])],
    attributes: { keepdims: int(0) },
  },
  ...reduction("ReduceL1", 13),
  ...reduction("ReduceL2", 13),
  ...reduction("ReduceSumSquare", 13),
  ...reduction("ReduceLogSumExp", 13),
  { title: "the last axis", opType: "Softmax", inputs: [f([2, 4])] },
  { title: "the first axis", opType: "Softmax", inputs: [f([3, 2])], attributes: { axis: int(0) } },
  { title: "no rows", opType: "Softmax", inputs: [f([0, 3])] },
  { title: "rows over the trailing axes", opType: "Softmax", opset: 11, inputs: [f([2, 2, 3])] },
  {
    title: "operator set 11, the last axis",
    opType: "Softmax",
    opset: 11,
    inputs: [f([2, 2, 3])],
    attributes: { axis: int(2) },
  },
  { title: "the last axis", opType: "LogSoftmax", inputs: [f([2, 4])] },
  {
    title: "the second axis",
    opType: "LogSoftmax",
    inputs: [f([2, 3, 2])],
    attributes: { axis: int(1) },
  },
  { title: "rows over the trailing axes", opType: "LogSoftmax", opset: 11, inputs: [f([2, 2, 2])] },
  { title: "two largest share", opType: "ReduceMax", inputs: [f([4], [1, 3, 3, 2])] },
  { title: "a scalar", opType: "ReduceMean", inputs: [f([])] },
];
