import { assertEquals } from "@std/assert";
import { ints } from "../../src/graph/attributes.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { ignoresPadding } from "../../src/train/planned_options.ts";
import { tinyModel } from "../helpers/ort.ts";

/** Token states [n, 2, s] through one operator, beside a mask. */
function encoder(opType: string, attributes = {}, weight?: readonly number[]): Model {
  const inputs = weight === undefined ? ["x"] : ["x", "w"];
  const count = weight?.reduce((size, dim) => size * dim, 1) ?? 0;
  return tinyModel({
    inputs: { x: ["float32", ["n", 2, "s"]], attention_mask: ["int64", ["n", "s"]] },
    outputs: { y: ["float32", ["n", 2, "s"]] },
    nodes: [[opType, inputs, ["y"], attributes]],
    initializers: weight === undefined ? {} : { w: float32(weight, new Array(count).fill(1)) },
  });
}

const ignores = (model: Model, objective: "causal" | "classification" = "classification") =>
  ignoresPadding({ model, objective });

Deno.test("ignoresPadding() is false where a convolution or a pool mixes neighbouring tokens", () => {
  assertEquals(ignores(encoder("Relu")), true);
  assertEquals(ignores(encoder("Conv", {}, [2, 2, 1])), true);
  assertEquals(ignores(encoder("Conv", {}, [2, 2, 3])), false);
  assertEquals(ignores(encoder("Conv", { kernel_shape: ints([3]) }, [2, 2, 3])), false);
  assertEquals(ignores(encoder("Conv")), false, "of a weight whose sizes are not told");
  assertEquals(ignores(encoder("MaxPool", { kernel_shape: ints([3]) })), false);
});

Deno.test("ignoresPadding() is false where an operator reads all tokens", () => {
  for (const opType of ["LSTM", "GRU", "RNN", "Scan", "Loop", "Resize", "GlobalAveragePool"]) {
    assertEquals(ignores(encoder(opType)), false, opType);
  }
});

Deno.test("ignoresPadding() is true where padding comes after all that is predicted", () =>
  assertEquals(ignores(encoder("Conv", {}, [2, 2, 3]), "causal"), true));

Deno.test("ignoresPadding() is false where a layer sees all places, or goes from one to the next", () => {
  const seeing = "GRU GlobalAveragePool GlobalMaxPool GroupNormalization InstanceNormalization " +
    "LSTM Loop RNN Resize Scan Upsample";
  for (const opType of seeing.split(" ")) assertEquals(ignores(encoder(opType)), false, opType);
  assertEquals(ignores(encoder("BatchNormalization")), true);
});
