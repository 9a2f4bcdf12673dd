import { assertEquals } from "@std/assert";
import { float } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { MICROSOFT } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { joinGates } from "../../src/plan/join_gates.ts";

/** The operators of a graph over gate and up [2, 8] and a scale [8], gates joined. */
function operators(emit: (b: GraphBuilder, silu: string) => string, alpha = 1): string[] {
  const b = new GraphBuilder(inferTraining);
  for (const name of ["gate", "up"]) b.input(name, "float32", [2, 8]);
  b.input("scale", "float32", [8]);
  const [activated] = b.emit({
    ...{ opType: "QuickGelu", domain: MICROSOFT, inputs: ["gate"] },
    ...{ attributes: { alpha: float(alpha) }, outputCount: 1 },
  });
  const { nodes } = joinGates(b.build("g", [emit(b, activated)]));
  return nodes.map(({ opType, inputs }) => opType === "SwiGLU" ? `SwiGLU ${inputs}` : opType);
}

Deno.test("joinGates() makes one operator of silu(gate) and what it multiplies, in either order", () => {
  assertEquals(operators((b, silu) => b.op("Mul", [silu, "up"])), ["SwiGLU gate,up"]);
  assertEquals(operators((b, silu) => b.op("Mul", ["up", silu])), ["SwiGLU gate,up"]);
});

Deno.test("joinGates() leaves a SiLU that is read elsewhere, multiplies another shape, or is none", () => {
  const both = (b: GraphBuilder, silu: string) => b.op("Add", [b.op("Mul", [silu, "up"]), silu]);
  assertEquals(operators(both), ["QuickGelu", "Mul", "Add"]);
  assertEquals(operators((b, silu) => b.op("Mul", [silu, "scale"])), ["QuickGelu", "Mul"]);
  assertEquals(operators((b, silu) => b.op("Mul", [silu, "up"]), 1.702), ["QuickGelu", "Mul"]);
});
