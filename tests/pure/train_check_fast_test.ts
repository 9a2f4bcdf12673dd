import { assert, assertEquals } from "@std/assert";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { arithmeticOf, numericOf } from "../../src/plan/arithmetic.ts";
import {
  besideFloats,
  checkedPart,
  checkFast,
  type ComparedModel,
  FAST_THRESHOLD,
} from "../../src/train/check_fast.ts";
import { hostParameter, HostTensor } from "../helpers/host_training.ts";

/** A model whose gradient is [1, 0] a sequence, and in `fast` [1, the sequence's token]. */
function modelOf() {
  const parameter = hostParameter("weight", [2], [0, 0]);
  const asked: string[] = [];
  const model: ComparedModel = {
    parameters: [parameter],
    accumulate: ({ inputIds }, _seed, options) => {
      const numeric = numericOf(options!.arithmetic!);
      const tokens = Array.from(toNumbers(inputIds), Number);
      asked.push(`${numeric} ${tokens}`);
      const before = parameter.grad === undefined ? [0, 0] : toNumbers(parameter.grad.read());
      const error = numeric === "fast" ? tokens.reduce((sum, token) => sum + token, 0) : 0;
      const values = [Number(before[0]) + tokens.length, Number(before[1]) + error];
      parameter.grad = new HostTensor([2], Float32Array.from(values));
      return Promise.resolve({ lossSum: 1, targetCount: tokens.length });
    },
    zeroGrad: () => parameter.grad = undefined,
  };
  return { model, asked };
}

const BOTH = besideFloats(arithmeticOf({ numeric: "fast" }));

const batchOf = (tokens: readonly number[]): TokenBatch => ({
  inputIds: int64([tokens.length, 1], tokens),
  attentionMask: int64([tokens.length, 1], tokens.map(() => 1)),
  classIds: tokens.map(() => 0),
  tokenCount: tokens.length,
});

Deno.test("checkFast() compares few sequences where they agree", async () => {
  const { model, asked } = modelOf();
  const { cosine, passed } = await checkFast(model, BOTH, batchOf([0, 0, 0, 0, 9, 9]));
  assertEquals([cosine, passed], [1, true]);
  assertEquals(asked, ["exact 0,0,0,0", "fast 0,0,0,0"]);
  assertEquals(model.parameters[0].grad, undefined);
});

Deno.test("checkFast() decides by more sequences where few differ", async () => {
  const { model, asked } = modelOf();
  // What rounding does to the first is undone by the others.
  const { cosine, passed } = await checkFast(model, BOTH, batchOf([1, 1, 1, 1, -1, -1, -1, -1, 0]));
  assertEquals([cosine, passed], [1, true]);
  assertEquals(asked, [
    ...["exact 1,1,1,1", "fast 1,1,1,1"],
    ...["exact -1,-1,-1,-1", "exact 0", "fast -1,-1,-1,-1", "fast 0"],
  ]);
});

Deno.test("checkFast() does not pass where more sequences differ too, sixteen at most", async () => {
  const { model, asked } = modelOf();
  const { cosine, passed } = await checkFast(model, BOTH, batchOf(Array(40).fill(1)));
  assert(cosine < FAST_THRESHOLD && !passed);
  assertEquals(asked.filter((text) => text.startsWith("fast")).length, 4);
});

Deno.test("checkFast() of no more sequences than it compares at once asks for no others", async () => {
  const { model, asked } = modelOf();
  assertEquals((await checkFast(model, BOTH, batchOf([1, 1, 1]))).passed, false);
  assertEquals(asked, ["exact 1,1,1", "fast 1,1,1"]);
});

Deno.test("checkedPart() is the first 1,024 tokens of long sequences, all where the targets come later", () => {
  const tokens = 3000;
  const long = (firstTarget: number): TokenBatch => ({
    inputIds: int64([1, tokens], Array(tokens).fill(1)),
    attentionMask: int64([1, tokens], Array(tokens).fill(1)),
    labels: Array.from({ length: tokens }, (_, i) => i < firstTarget ? -100 : 1),
    tokenCount: tokens,
  });
  assertEquals(checkedPart(long(0)).inputIds.dims, [1, 1024]);
  assertEquals(checkedPart(long(2000)).inputIds.dims, [1, tokens]);
});
