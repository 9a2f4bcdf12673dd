import { assertEquals } from "@std/assert";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { countParameters } from "../../src/model/count_parameters.ts";
import { tinyModel } from "../helpers/ort.ts";

const floats = (...dims: number[]) =>
  float32(dims, new Float32Array(dims.reduce((size, dim) => size * dim, 1)).fill(1));

Deno.test("countParameters() counts neither scales nor zero points of an integer product", () => {
  const model = tinyModel({
    inputs: { x: ["uint8", [2, 4]], x_scale: ["float32", []], x_zero: ["uint8", []] },
    outputs: { y: ["float32", [2, 3]] },
    nodes: [
      ["com.microsoft.MatMulIntegerToFloat", ["x", "w", "x_scale", "w_scale", "x_zero"], ["y"]],
    ],
    initializers: { w: tensor("int8", [4, 3], new Uint8Array(12)), w_scale: floats(3) },
  });
  assertEquals(countParameters(model, []), 12);
});

Deno.test("countParameters() counts no rotary tables, ONNX's own operator's neither", () => {
  const model = tinyModel({
    inputs: { x: ["float32", [1, 2, 3, 4]], positions: ["int64", [1, 3]] },
    outputs: { y: ["float32", [1, 2, 3, 4]] },
    nodes: [["RotaryEmbedding", ["x", "cos", "sin", "positions"], ["y"]]],
    initializers: { cos: floats(5, 2), sin: floats(5, 2) },
  });
  assertEquals(countParameters(model, []), 0);
});
