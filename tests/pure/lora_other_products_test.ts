import { assertEquals } from "@std/assert";
import { float32 } from "../../src/graph/tensor.ts";
import { findModules } from "../../src/lora/modules.ts";
import { otherProducts } from "../../src/lora/other_products.ts";
import { floats, graphOf } from "../helpers/lora_graphs.ts";

Deno.test("otherProducts() finds products whose weight is prepared in a way that no target has", () => {
  const model = graphOf([
    ["MatMul", ["x", "known"], ["a"]],
    ["Mul", ["weight", "two"], ["doubled"]],
    ["MatMul", ["a", "doubled"], ["b"]],
    ["MatMul", ["b", "angles"], ["c"]],
    ["Mul", ["angles", "two"], ["d"]],
    ["MatMul", ["c", "d"], ["e"]],
    ["MatMul", ["e", "c"], ["y"]],
  ], {
    known: floats(4, 40),
    weight: floats(40, 40),
    angles: floats(1, 40, 1),
    two: float32([], [2]),
  });
  const others = otherProducts(model, findModules(model));
  assertEquals(others.map(({ outputs }) => outputs[0]), ["b"]);
});
