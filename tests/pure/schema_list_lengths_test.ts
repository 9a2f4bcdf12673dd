// ONNX Runtime infers a shape from a list of sizes when it creates a session: one of a million entries takes
// seconds and memory to match.
import { assertEquals, assertThrows } from "@std/assert";
import { int, ints } from "../../src/graph/attributes.ts";
import { decodeModel, encodeModel } from "../../src/onnx/mod.ts";
import { BadInputError } from "../../src/errors.ts";
import { partialShapes } from "../../src/ops/schema/partial_shapes.ts";
import { rankProblem } from "../../src/ops/schema/ranks.ts";
import { int64 } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";

/** Nodes over x [batch, 4, 8]; they make y. */
function overX(...nodes: readonly TinyNode[]): Model {
  return tinyModel({
    inputs: { x: ["float32", ["batch", 4, 8]] },
    outputs: { y: ["float32", ["n"]] },
    initializers: {
      zero: int64([], [0]),
      one: int64([], [1]),
      many: int64([], [1_000_000]),
      rest: int64([1], [-1]),
      first: int64([1], [0]),
      three: int64([3], [2, 1, -1]),
      kept: int64([2], [0, -1]),
      grid: int64([2], [1000, 1000]),
      pair: int64([2], [1, 2]),
    },
    nodes,
  });
}

/** Ways to make "list" of a million entries. */
const LONG: Readonly<Record<string, readonly TinyNode[]>> = {
  "an Expand that is flattened": [
    ["Shape", ["x"], ["sizes"], { end: int(1) }],
    ["Expand", ["sizes", "grid"], ["square"]],
    ["Squeeze", ["square"], ["same"]],
    ["Mul", ["same", "one"], ["product"]],
    ["Reshape", ["product", "rest"], ["list"]],
  ],
  "a constant": [["ConstantOfShape", ["grid"], ["all"]], ["Reshape", ["all", "rest"], ["list"]]],
  "a range": [["Range", ["zero", "many", "one"], ["list"]]],
  "repeats": [
    ["Expand", ["first", "grid"], ["square"]],
    ["Tile", ["square", "pair"], ["wide"]],
    ["Transpose", ["wide"], ["tall"], { perm: ints([1, 0]) }],
    ["Reshape", ["tall", "rest"], ["list"]],
  ],
};

for (const [way, nodes] of Object.entries(LONG)) {
  Deno.test(`rankProblem() refuses sizes of a value that ${way} makes, naming node, input and value`, () => {
    const entries = way === "repeats" ? 2_000_000 : 1_000_000;
    assertEquals(
      rankProblem(overX(...nodes, ["Expand", ["x", "list"], ["y"]]).graph),
      `node ${nodes.length} (Expand "node${nodes.length}"): ` +
        `input 1 must be a list for at most 64 dimensions: "list" has ${entries} entries`,
    );
  });
}

for (
  const [operator, inputs] of [
    ["ConstantOfShape", ["list"]],
    ["Reshape", ["x", "list"]],
    ["Tile", ["x", "list"]],
    ["Unsqueeze", ["x", "list"]],
    ["ReduceSum", ["x", "list"]],
    ["Slice", ["x", "first", "rest", "list"]],
    ["Pad", ["x", "list"]],
    ["Resize", ["x", "", "", "list"]],
  ] as const
) {
  Deno.test(`rankProblem() refuses a list of a million for ${operator}`, () => {
    const graph = overX(...LONG["a range"], [operator, [...inputs], ["y"]]).graph;
    assertEquals(rankProblem(graph)?.includes('"list" has 1000000 entries'), true);
  });
}

Deno.test("rankProblem() accepts lists for the dimensions of a value, and those of unknown length", () => {
  const sound: TinyNode[][] = [
    [["Reshape", ["x", "three"], ["y"]]],
    [["NonZero", ["x"], ["places"]], ["Reshape", ["places", "rest"], ["list"]], [
      "Expand",
      ["x", "list"],
      ["y"],
    ]],
    [["Range", ["zero", "many", "one"], ["list"]], ["Gather", ["x", "list"], ["y"]]],
  ];
  for (const nodes of sound) assertEquals(rankProblem(overX(...nodes).graph), undefined);
});

Deno.test("decodeModel() refuses a file whose sizes are a list of a million", () => {
  const model = overX(...LONG["a range"], ["Expand", ["x", "list"], ["y"]]);
  assertThrows(
    () => decodeModel(encodeModel(model), { file: "long.onnx" }),
    BadInputError,
    "long.onnx: node 1 (Expand",
  );
});

Deno.test("partialShapes() knows sizes that constants give, and not those that they leave open", () => {
  const shapes = partialShapes(
    overX(
      ["Reshape", ["x", "three"], ["three sizes"]],
      ["Reshape", ["x", "kept"], ["kept sizes"]],
      ["Transpose", ["x"], ["reversed"]],
      ["Tile", ["reversed", "three"], ["not so often"]],
      ["Tile", ["reversed", "pair"], ["of other dimensions"]],
      ["Expand", ["x", "grid"], ["does not broadcast"]],
      ["Squeeze", ["three sizes", "pair"], ["squeezed"]],
      ["Identity", ["squeezed"], ["y"]],
    ).graph,
  );
  const unknown = undefined;
  assertEquals(shapes.get("three sizes"), [2, 1, unknown]);
  assertEquals(shapes.get("kept sizes"), [unknown, unknown]);
  assertEquals(shapes.get("reversed"), [8, 4, unknown]);
  assertEquals(shapes.get("not so often"), [16, 4, unknown]);
  assertEquals(shapes.get("of other dimensions"), [unknown, unknown, unknown]);
  assertEquals(shapes.get("does not broadcast")?.length, 3);
  assertEquals(shapes.get("squeezed"), [2]);
});
