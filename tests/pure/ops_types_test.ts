/** Rules at other float types than float32, and the shape of what they emit. */
import { assert, assertEquals } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { isFloating } from "../../src/graph/dtype.ts";
import { int } from "../../src/graph/attributes.ts";
import { int64 } from "../../src/graph/tensor.ts";
import type { Node } from "../../src/graph/types.ts";
import { inferTraining, ruleOf } from "../../src/ops/registry.ts";
import { TRAINING_OPSET } from "../../src/ops/types.ts";
import { caseCotangents } from "../helpers/gradcheck.ts";
import { STANDARD_CASES } from "../helpers/op_cases/mod.ts";

Deno.test("cotangents have their input's type in float16 graphs", async (t) => {
  for (const test of STANDARD_CASES) {
    if (test.opType === "Cast" || test.opType === "Constant") continue;
    await t.step(`${test.opType} ${test.title}`, () => {
      const half = {
        ...test,
        inputs: test.inputs.map((input) =>
          input === undefined || (input.dtype ?? "float32") !== "float32"
            ? input
            : { ...input, dtype: "float16" as const }
        ),
      };
      for (const { input, ct } of caseCotangents(half)) assertEquals(ct, input);
    });
  }
});

/** Emits y = op(inputs) and the cotangents of `wrt` for a cotangent of y. */
function emitted(make: (b: GraphBuilder) => string, wrt: string[]): GraphBuilder {
  const b = new GraphBuilder(inferTraining);
  const y = make(b);
  assert(isFloating(b.known(y).dtype));
  const nodes = [...b.nodes];
  const seed = b.input("seed", b.known(y).dtype, b.dims(y));
  pullback(b, nodes, new Map([[y, seed]]), new Set(wrt));
  return b;
}

const count = (b: GraphBuilder, opType: string) =>
  b.nodes.filter((node) => node.opType === opType).length;

Deno.test("MatMul's cotangents against a frozen weight are one Gemm, without a Transpose", () => {
  const b = emitted((b) => {
    b.input("x", "float32", [2, 5, 8]);
    b.input("w", "float32", [8, 3]);
    return b.op("MatMul", ["x", "w"]);
  }, ["x"]);
  assertEquals(count(b, "Gemm"), 1);
  assertEquals(count(b, "Transpose"), 0);
  assertEquals(b.nodes.length, 4); // MatMul, Reshape, Gemm, Reshape
});

Deno.test("MatMul's cotangents over stacks write no transposed matrix", () => {
  const b = emitted((b) => {
    b.input("q", "float32", [2, 3, 5, 4]);
    b.input("k", "float32", [2, 3, 4, 5]);
    return b.op("MatMul", ["q", "k"]);
  }, ["q", "k"]);
  assertEquals(count(b, "FusedMatMul"), 2);
  assertEquals(count(b, "Transpose"), 0);
});

Deno.test("Gather of one known index pulls back through Pad, not a scatter", () => {
  const b = emitted((b) => {
    b.input("x", "float32", [2, 5, 8]);
    const first = b.constant(int64([], [0]));
    const gather: Node = {
      name: "pool",
      opType: "Gather",
      domain: "",
      inputs: ["x", first],
      outputs: ["pooled"],
      attributes: { axis: int(1) },
    };
    return ruleOf(gather).lower!(b, gather, { opset: TRAINING_OPSET, needed: [true] })![0];
  }, ["x"]);
  assertEquals(count(b, "Pad"), 1);
  assertEquals(count(b, "ScatterElements"), 0);
});

Deno.test("only wanted cotangents are emitted", () => {
  const b = emitted((b) => {
    b.input("x", "float32", [4, 8]);
    b.input("gain", "float32", [8]);
    b.input("shift", "float32", [8]);
    const [y] = b.ops("LayerNormalization", ["x", "gain", "shift"], 3);
    return y;
  }, ["shift"]);
  assertEquals(b.nodes.map((node) => node.opType), ["LayerNormalization", "MatMul", "Reshape"]);
});

Deno.test("an index into a frozen table costs nothing", () => {
  const b = emitted((b) => {
    b.input("ids", "int64", [2, 3]);
    b.input("x", "float32", [2, 3, 4]);
    const table = b.input("table", "float32", [10, 4]);
    return b.op("Add", ["x", b.op("Gather", [table, "ids"])]);
  }, ["x"]);
  assertEquals(b.nodes.length, 2);
});
