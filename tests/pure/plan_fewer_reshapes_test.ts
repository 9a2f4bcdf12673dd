import { assertEquals } from "@std/assert";
import { ints } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, int64 } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { withFewerReshapes } from "../../src/plan/fewer_reshapes.ts";

/** The nodes of a graph over x and y [6, 4] with fewer Reshapes, as `operator(shapes) -> shape`. */
function nodes(emit: (b: GraphBuilder) => readonly string[]): string[] {
  const b = new GraphBuilder(inferTraining);
  for (const name of ["x", "y"]) b.input(name, "float32", [6, 4]);
  const outputs = emit(b);
  const { initializers, nodes } = b.build("g", outputs);
  const dims = (name: string) => b.known(name).dims;
  const piece = withFewerReshapes({ nodes, constants: initializers, dims }, new Set(outputs));
  const shape = (name: string) => `[${piece.dims(name)}]`;
  return piece.nodes.map(({ opType, inputs, outputs }) => {
    const read = opType === "Reshape" ? inputs.slice(0, 1) : inputs;
    return `${opType}(${read.map(shape)}) -> ${shape(outputs[0])}`;
  });
}

Deno.test("withFewerReshapes() looks through views of views, and takes one of a value's own shape for it", () => {
  const turned = (b: GraphBuilder, x: string) => b.op("Neg", [x]);
  assertEquals(
    nodes((b) => [turned(b, b.reshape(b.reshape("x", [2, 3, 4]), [24]))]).slice(0, 1),
    ["Neg([6,4]) -> [6,4]"],
  );
  assertEquals(
    nodes((b) => [b.op("Softmax", [b.reshape(b.reshape("x", [2, 12]), [6, 4])])]),
    ["Softmax([6,4]) -> [6,4]"],
  );
  assertEquals(nodes((b) => [b.reshape(b.reshape("x", [2, 12]), [6, 4])]), [
    "Reshape([6,4]) -> [6,4]",
  ]);
});

Deno.test("withFewerReshapes() computes a chain of arithmetic in the shape that it begins and ends in", () => {
  const found = nodes((b) => {
    const [x, y] = ["x", "y"].map((name) => b.reshape(name, [1, 6, 4]));
    const gated = b.op("Mul", [b.op("Sigmoid", [x]), y]);
    return [b.op("Softmax", [b.reshape(b.op("Add", [gated, x]), [6, 4])])];
  });
  assertEquals(found, [
    "Sigmoid([6,4]) -> [6,4]",
    "Mul([6,4],[6,4]) -> [6,4]",
    "Add([6,4],[6,4]) -> [6,4]",
    "Softmax([6,4]) -> [6,4]",
  ]);
});

Deno.test("withFewerReshapes() takes an operand in the shape of the others where it has a view of that", () => {
  const found = nodes((b) => {
    const blocks = b.op("Softmax", [b.reshape("x", [12, 2])]);
    const rows = b.reshape(b.reshape(blocks, [6, 4]), [1, 6, 4]);
    const sum = b.op("Add", [rows, b.reshape("y", [1, 6, 4])]);
    return [b.op("Softmax", [b.reshape(sum, [6, 4])])];
  });
  assertEquals(found, [
    "Reshape([6,4]) -> [12,2]",
    "Softmax([12,2]) -> [12,2]",
    "Reshape([12,2]) -> [6,4]",
    "Add([6,4],[6,4]) -> [6,4]",
    "Softmax([6,4]) -> [6,4]",
  ]);
});

Deno.test("withFewerReshapes() leaves arithmetic with one number, with a value of its own, or over other shapes", () => {
  const scaled = nodes((b) => [
    b.op("Mul", [b.reshape("x", [2, 3, 4]), b.constant(float32([], [2]))]),
  ]);
  assertEquals(scaled, ["Reshape([6,4]) -> [2,3,4]", "Mul([2,3,4],[]) -> [2,3,4]"]);
  const beside = nodes((b) => {
    const own = b.op("Transpose", [b.reshape("y", [3, 2, 4])], { perm: ints([1, 0, 2]) });
    return [b.op("Add", [b.reshape("x", [2, 3, 4]), own])];
  });
  assertEquals(beside.at(-1), "Add([2,3,4],[2,3,4]) -> [2,3,4]");
  const broadcast = nodes((b) => [
    b.op("Add", [b.reshape("x", [6, 1, 4]), b.reshape("y", [1, 6, 4])]),
  ]);
  assertEquals(broadcast.at(-1), "Add([6,1,4],[1,6,4]) -> [6,6,4]");
});

Deno.test("withFewerReshapes() leaves a shape that leaves a size to its operand", () => {
  const found = nodes((b) => {
    const half = b.reshape("x", [2, 12]);
    const [open] = b.emit({
      ...{ opType: "Reshape", domain: "", attributes: {}, outputCount: 1 },
      inputs: [half, b.constant(int64([2], [0, 12]))],
    });
    return [b.op("Softmax", [open])];
  });
  assertEquals(found, [
    "Reshape([6,4]) -> [2,12]",
    "Reshape([2,12]) -> [2,12]",
    "Softmax([2,12]) -> [2,12]",
  ]);
});
