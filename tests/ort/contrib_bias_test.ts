/** BiasAdd and BiasSoftmax have no kernel on the CPU: their definitions are computed here. */
import { assertThrows } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import { elementCount, float32, toNumbers } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { checkFused, type FusedCase, lower, normal } from "../helpers/fused_check.ts";

Deno.test("BiasAdd adds the bias and the skip", async () => {
  const [x, bias, skip] = [normal([2, 3, 4], 1), normal([4], 2), normal([2, 3, 4], 3)];
  const [xs, bs, ss] = [x, bias, skip].map(toNumbers);
  const sum = Array.from(xs, (value, i) => value + bs[i % 4] + ss[i]);
  await checkFused({
    opType: "BiasAdd",
    inputs: [x, bias, skip],
    wrt: [0, 1, 2],
    expected: [float32([2, 3, 4], sum)],
  });
});

const DIMS = [2, 3, 4, 5];

/** Softmax over rows of `length` elements of data [2,3,4,5] and what `added` gives for an element. */
function softmax(length: number, bias: readonly number[], added: (i: number) => number) {
  const data = normal(DIMS, 1);
  const [x, extra] = [toNumbers(data), toNumbers(normal(bias, 2))];
  const exps = Array.from(x, (value, i) => Math.exp(value + extra[added(i)]));
  const out = exps.map((value, i) => {
    const start = i - i % length;
    return value / exps.slice(start, start + length).reduce((a, b) => a + b);
  });
  return [float32(DIMS, out)];
}

function biasSoftmax(bias: readonly number[], attributes: Attributes): FusedCase {
  return {
    opType: "BiasSoftmax",
    attributes,
    inputs: [normal(DIMS, 1), normal(bias, 2)],
    wrt: [0, 1],
  };
}

Deno.test("BiasSoftmax with a mask shared by heads and queries", async () => {
  const bias = [2, 1, 1, 5];
  const expected = softmax(5, bias, (i) => Math.floor(i / 60) * 5 + i % 5);
  const attributes = { axis: int(3), is_inner_broadcast: int(1) };
  await checkFused({ ...biasSoftmax(bias, attributes), expected });
});

Deno.test("BiasSoftmax with a mask shared by batch and heads", async () => {
  const bias = [1, 1, 4, 5];
  const expected = softmax(5, bias, (i) => i % 20);
  const attributes = { axis: int(-1), is_inner_broadcast: int(0) };
  await checkFused({ ...biasSoftmax(bias, attributes), expected });
});

Deno.test("BiasSoftmax normalises over its axis and all behind it", async () => {
  const expected = softmax(elementCount(DIMS.slice(2)), DIMS, (i) => i);
  const attributes = { axis: int(2), is_inner_broadcast: int(0) };
  await checkFused({ ...biasSoftmax(DIMS, attributes), expected });
});

Deno.test("BiasSoftmax refuses a bias of another rank by name", () => {
  const test = biasSoftmax([4, 5], { axis: int(3), is_inner_broadcast: int(1) });
  assertThrows(
    () => lower(new GraphBuilder(inferTraining), test),
    UnsupportedError,
    'input "bias" of another rank than "data" ([4,5], [2,3,4,5]) of com.microsoft.BiasSoftmax',
  );
});
