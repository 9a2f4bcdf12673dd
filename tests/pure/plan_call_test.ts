import { assert } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { callOf } from "../../src/plan/call.ts";
import { runtimeOrder } from "../../src/plan/call_memory.ts";

Deno.test("callOf() orders a call so that what is kept of a value is made before the call goes on from it", () => {
  const b = new GraphBuilder(inferTraining);
  const wide = b.op("Exp", [b.input("x", "float32", [8, 64])]);
  const kept = b.op("Neg", [b.op("Tanh", [wide])]);
  const result = b.op("MatMul", [wide, b.input("w", "float32", [64, 8])]);
  const { graph } = callOf(b, "test", new Map([[result, "result"], [kept, "kept"]]));
  const order = runtimeOrder(graph).map(({ opType }) => opType);
  assert(order.indexOf("Neg") < order.indexOf("MatMul"), order.join());
});
