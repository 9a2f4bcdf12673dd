import { assert, assertEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { callOf, type PlannedCall } from "../../src/plan/call.ts";
import { withSharedWeights } from "../../src/plan/share_weights.ts";

const [ROWS, WIDTH] = [8, 64];

/** h = x · dequantised(w) + bias, whose bias is a float16 of few elements. */
function layer(x: string, index: number): PlannedCall {
  const b = new GraphBuilder(inferTraining);
  b.input(x, "float32", [ROWS, WIDTH]);
  b.input(`w${index}`, "int8", [2, WIDTH / 2, WIDTH]);
  b.input(`s${index}`, "float32", [WIDTH]);
  b.input(`bias${index}`, "float16", [WIDTH]);
  const whole = b.op("DequantizeLinear", [`w${index}`, `s${index}`], { axis: int(2) });
  const weight = b.reshape(whole, [WIDTH, WIDTH]);
  const bias = b.op("Cast", [`bias${index}`], { to: int(1) });
  const half = b.op("Mul", [
    b.op("MatMul", [x, weight]),
    b.initializer("half", float32([], [0.5])),
  ]);
  const out = b.op("Add", [half, bias]);
  return callOf(b, `layer ${index}`, new Map([[out, `h${index}`]]));
}

const FROZEN = new Set([0, 1, 2].flatMap((i) => [`w${i}`, `s${i}`, `bias${i}`]));
const calls = [layer("x", 0), layer("h0", 1), layer("h1", 2)];
const types = ({ graph }: PlannedCall) => graph.nodes.map(({ opType }) => opType);
const of = (map: ReadonlyMap<string, string>) => [...map.values()];

Deno.test("withSharedWeights() makes what is of weights alone a call ahead of the one that reads it", () => {
  const apart = withSharedWeights(calls, FROZEN);
  assertEquals(apart.map(({ label }) => label), [
    "layer 0, weights",
    "layer 1, weights",
    "layer 0",
    "layer 2, weights",
    "layer 1",
    "layer 2",
  ]);
  for (const [i, label] of ["layer 0", "layer 1", "layer 2"].entries()) {
    const own = apart.find((call) => call.label === label)!;
    const weights = apart.find((call) => call.label === `${label}, weights`)!;
    assertEquals(types(weights), ["DequantizeLinear"]);
    assertEquals(of(weights.feeds), [`w${i}`, `s${i}`]);
    assertEquals(weights.isShared, true);
    // The bias is too small to be worth it, and a graph that ends with another shape copies.
    assertEquals(types(own), ["Reshape", "Cast", "MatMul", "Mul", "Add"]);
    const entering = i === 0 ? "x" : `h${i - 1}`;
    assertEquals(of(own.feeds), [of(weights.fetches)[0], `bias${i}`, entering]);
    assertEquals(of(own.fetches), [`h${i}`]);
    assertEquals(own.isShared, undefined);
  }
  assertEquals(new Set(apart.flatMap(({ fetches }) => of(fetches))).size, 6);
});

Deno.test("withSharedWeights() keeps calls that are alike alike, and those without weights as they are", () => {
  const apart = withSharedWeights(calls, FROZEN);
  assertEquals(new Set(apart.map(({ key }) => key)).size, 2);
  assertEquals(new Set(apart.map(({ graph }) => graph)).size, 2 * calls.length, "none was shared");
  const graph = calls[0].graph;
  const shared = withSharedWeights(calls.map((call) => ({ ...call, graph })), FROZEN);
  assertEquals(new Set(shared.map(({ graph }) => graph)).size, 2);
  // What is trained is no weight to share.
  const trained = withSharedWeights(calls, new Set([...FROZEN].filter((name) => name !== "s1")));
  assert(trained.includes(calls[1]));
  assertEquals(withSharedWeights(calls, new Set()), calls);
});
