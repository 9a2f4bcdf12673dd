import { assertEquals, assertThrows } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { BadInputError } from "../../src/errors.ts";
import { bindInputs } from "../../src/plan/inputs.ts";
import { tinyModel } from "../helpers/ort.ts";

/** Attention over a product of 32 columns, with a cache whose head size is not stated. */
const decoder = (heads: number) =>
  tinyModel({
    inputs: {
      input_ids: ["int64", ["batch", "length"]],
      "past_key_values.0.key": ["float32", ["batch", 2, "past", "head size"]],
    },
    outputs: { y: ["float32", ["batch", "length", 16]] },
    initializers: {
      w: float32([4, 32], new Float32Array(128)),
      x: float32([1, 1, 4], [1, 2, 3, 4]),
    },
    nodes: [
      ["MatMul", ["x", "w"], ["qkv"]],
      ["com.microsoft.GroupQueryAttention", ["qkv", "", "", "past_key_values.0.key"], ["y"], {
        num_heads: int(heads),
        kv_num_heads: int(2),
      }],
    ],
  }).graph;

Deno.test("bindInputs() gives caches the head size of their attention, and no past", () => {
  const bound = bindInputs(decoder(4), { batch: 3, length: 5 });
  assertEquals(bound.get("past_key_values.0.key")?.dims, [3, 2, 0, 4]);
});

Deno.test("bindInputs() refuses a head size that is no whole number", () => {
  assertThrows(
    () => bindInputs(decoder(6), { batch: 3, length: 5 }),
    BadInputError,
    'Cannot bind input "past_key_values.0.key": its attention gives it a size of 3.2',
  );
});
