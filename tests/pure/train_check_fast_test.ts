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

/** A token whose gradient in `fast` is NaN. */
const NOT_A_NUMBER = 777;

/** A model whose gradient is [1, 0] a sequence, and in `fast` [1, the sequence's first token]. */
function modelOf() {
  const parameter = hostParameter("weight", [2], [0, 0]);
  const asked: string[] = [];
  const shapes: (readonly number[])[] = [];
  const model: ComparedModel = {
    parameters: [parameter],
    accumulate: ({ inputIds }, _seed, options) => {
      const numeric = numericOf(options!.arithmetic!);
      const [rows, length] = inputIds.dims;
      const all = Array.from(toNumbers(inputIds), Number);
      const tokens = Array.from({ length: rows }, (_, row) => all[row * length]);
      shapes.push(inputIds.dims);
      asked.push(`${numeric} ${tokens}`);
      const before = parameter.grad === undefined ? [0, 0] : toNumbers(parameter.grad.read());
      const error = numeric === "fast" ? sumOf(tokens) : 0;
      const values = [Number(before[0]) + tokens.length, Number(before[1]) + error];
      parameter.grad = new HostTensor([2], Float32Array.from(values));
      return Promise.resolve({ lossSum: 1, targetCount: tokens.length });
    },
    zeroGrad: () => parameter.grad = undefined,
  };
  return { model, asked, shapes };
}

const sumOf = (tokens: readonly number[]) =>
  tokens.includes(NOT_A_NUMBER) ? NaN : tokens.reduce((sum, token) => sum + token, 0);

const BOTH = besideFloats(arithmeticOf({ numeric: "fast" }));

const batchOf = (tokens: readonly number[]): TokenBatch => ({
  inputIds: int64([tokens.length, 1], tokens),
  attentionMask: int64([tokens.length, 1], tokens.map(() => 1)),
  classIds: tokens.map(() => 0),
  tokenCount: tokens.length,
});

/** Sequences of one length, of equal tokens. */
const longOf = (rows: number, length: number, token: number): TokenBatch => ({
  inputIds: int64([rows, length], Array(rows * length).fill(token)),
  attentionMask: int64([rows, length], Array(rows * length).fill(1)),
  classIds: Array(rows).fill(0),
  tokenCount: rows * length,
});

Deno.test("checkFast() compares few sequences where they agree", async () => {
  const { model, asked } = modelOf();
  const { cosine, passed } = await checkFast(model, BOTH, [batchOf([0, 0, 0, 0, 9, 9])]);
  assertEquals([cosine, passed], [1, true]);
  assertEquals(asked, ["exact 0,0,0,0", "fast 0,0,0,0"]);
  assertEquals(model.parameters[0].grad, undefined);
});

Deno.test("checkFast() decides by more sequences where few differ", async () => {
  const { model, asked } = modelOf();
  // What rounding does to the first is undone by the others.
  const { cosine, passed } = await checkFast(model, BOTH, [
    batchOf([1, 1, 1, 1, -1, -1, -1, -1, 0]),
  ]);
  assertEquals([cosine, passed], [1, true]);
  assertEquals(asked, [
    ...["exact 1,1,1,1", "fast 1,1,1,1"],
    ...["exact -1,-1,-1,-1", "exact 0", "fast -1,-1,-1,-1", "fast 0"],
  ]);
});

Deno.test("checkFast() does not pass where more sequences differ too, sixteen at most", async () => {
  const { model, asked } = modelOf();
  const { cosine, passed } = await checkFast(model, BOTH, [batchOf(Array(40).fill(1))]);
  assert(cosine < FAST_THRESHOLD && !passed);
  assertEquals(asked.filter((text) => text.startsWith("fast")).length, 4);
});

Deno.test("checkFast() of no more sequences than it compares at once asks for no others", async () => {
  const { model, asked } = modelOf();
  assertEquals((await checkFast(model, BOTH, [batchOf([1, 1, 1])])).passed, false);
  assertEquals(asked, ["exact 1,1,1", "fast 1,1,1"]);
});

Deno.test("checkFast() passes where half of the groups agree, though one spoils the sum", async () => {
  const { model, asked } = modelOf();
  const batches = [[1, 1, 1, 1], [0, 0, 0, 0], [99, 0, 0, 0], [0, 0, 0, 0]].map(batchOf);
  const { cosine, passed } = await checkFast(model, BOTH, batches);
  assertEquals([cosine, passed], [1, true]);
  assertEquals(asked.filter((text) => text.startsWith("fast")).length, 4);
});

Deno.test("checkFast() does not pass where fewer groups agree", async () => {
  const { model } = modelOf();
  const batches = [[1, 1, 1, 1], [1, 1, 1, 1], [99, 0, 0, 0], [0, 0, 0, 0]].map(batchOf);
  const { cosine, passed } = await checkFast(model, BOTH, batches);
  assert(cosine < FAST_THRESHOLD && !passed);
});

Deno.test("checkFast() does not pass where a gradient is NaN, whatever the others are", async () => {
  const { model } = modelOf();
  const batches = [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [NOT_A_NUMBER]].map(batchOf);
  assertEquals((await checkFast(model, BOTH, batches)).passed, false);
});

Deno.test("checkFast() of batches of one sequence compares groups of four", async () => {
  const { model, asked } = modelOf();
  const batches = Array.from({ length: 20 }, (_, i) => batchOf([i === 0 ? 1 : 0]));
  assertEquals((await checkFast(model, BOTH, batches)).passed, true);
  // One, and fifteen others.
  assertEquals(asked.filter((text) => text.startsWith("fast")).length, 16);
});

Deno.test("checkFast() cuts later sequences to the first ones' length, or 64 tokens", async () => {
  for (const [first, longest] of [[16, 64], [512, 512]] as const) {
    const { model, shapes } = modelOf();
    await checkFast(model, BOTH, [longOf(4, first, 1), longOf(4, 48, 1), longOf(5, 2000, 1)]);
    assertEquals(shapes.slice(2, 5), [[4, 48], [4, longest], [1, longest]]);
  }
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
