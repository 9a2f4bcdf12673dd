import { assertEquals } from "@std/assert";
import { batchOf, rowsOf } from "../helpers/training_step.ts";
import { prepareParts } from "../../src/train/step_inputs.ts";

const RULES = { packs: true, sharesPrefixes: false, isCausal: false };

const shapesOf = (lengths: readonly (readonly number[])[], packs = true) =>
  prepareParts(lengths.map((part) => batchOf(rowsOf(part), 96, "causal")), { ...RULES, packs })
    .map(({ batch, targets, packing }) => [batch.inputIds.dims[0], targets.rows, packing?.rows]);

Deno.test("prepareParts() gives parts of as many sequences one shape: that of the largest", () => {
  // Alone, the first would have 96 target rows and 72 packed ones, the second 192 and 168.
  assertEquals(shapesOf([[30, 40], [80, 85]]), [[2, 192, 168], [2, 192, 168]]);
  assertEquals(shapesOf([[30, 40], [80, 85]], false), [[2, 192, undefined], [2, 192, undefined]]);
  // Where one has next to no padding, none leaves it out.
  assertEquals(shapesOf([[30, 40], [96, 95]]), [[2, 192, undefined], [2, 192, undefined]]);
});

Deno.test("prepareParts() leaves out parts without a target", () => {
  const silent = rowsOf([20]).map((row) => ({ ...row, prompt: 20 }));
  const parts = [batchOf(silent, 96, "causal"), batchOf(rowsOf([20]), 96, "causal")];
  assertEquals(prepareParts(parts, RULES).map(({ batch }) => batch), [parts[1]]);
  assertEquals(prepareParts(parts.slice(0, 1), RULES), []);
});

Deno.test("prepareParts() makes rows for what the part with most of them computes, prefixes that it shares once", () => {
  const part = (lengths: readonly number[], prefix: number) =>
    batchOf(
      rowsOf(lengths).map((row) => ({
        ...row,
        ids: row.ids.map((id, t) => t < prefix ? 3 : id),
      })),
      96,
      "causal",
    );
  const parts = [part([60, 70], 40), part([55, 70], 8)];
  const rowsWith = (sharesPrefixes: boolean) =>
    prepareParts(parts, { ...RULES, sharesPrefixes }).map(({ packing }) => packing!.rows);
  // 130 and 125 tokens; 90 and 117 different ones, and one row each for padding and for no place.
  assertEquals(rowsWith(false), [136, 136]);
  assertEquals(rowsWith(true), [120, 120]);
  // Attention computes once what is common to each part's; eight tokens are not worth it.
  const commonWith = (prefixes: readonly [number, number]) =>
    prepareParts([part([60, 70], prefixes[0]), part([55, 70], prefixes[1])], {
      ...RULES,
      sharesPrefixes: true,
    }).map(({ packing }) => packing!.common);
  assertEquals(commonWith([40, 8]), [0, 0]);
  assertEquals(commonWith([40, 30]), [24, 24]);
});
