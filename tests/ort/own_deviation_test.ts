import { assertEquals } from "@std/assert";
import { float } from "../../src/graph/attributes.ts";
import { withOwnDeviation } from "../../src/graph/passes/own_deviation.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { assertNear } from "../helpers/numbers.ts";
import { tinyModel } from "../helpers/ort.ts";

const DIMS = [2, 3, 4];

/** @param outputs of the normalisation */
function normalising(outputs: readonly string[]): Model {
  return tinyModel({
    inputs: { x: ["float32", DIMS] },
    outputs: Object.fromEntries(outputs.map((name) => [name, ["float32", ["a", "b", "c"]]])),
    nodes: [["SimplifiedLayerNormalization", ["x", "gain"], outputs, { epsilon: float(1e-3) }]],
    initializers: { gain: float32([4], [1, 2, 0.5, -1]) },
  });
}

async function results(model: Model): Promise<readonly number[][]> {
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(model);
  using x = runner.upload(float32(DIMS, Array.from({ length: 24 }, (_, i) => Math.sin(i))));
  const made = await executable.run({ x });
  return Object.values(made).map((tensor) => [...toNumbers(tensor.read())].map(Number));
}

for (const opset of [17, 21]) {
  Deno.test(`withOwnDeviation() gives ONNX Runtime's own numbers, opset ${opset}`, async () => {
    const model = { ...normalising(["y", "inverse"]), opsets: { "": opset } };
    const own = withOwnDeviation(model);
    assertEquals(own.graph.nodes[0].outputs, ["y"]);
    const [expected, found] = [await results(model), await results(own)];
    expected.forEach((values, i) => assertNear(found[i], values, 1e-6, `output ${i}`));
  });
}

Deno.test("withOwnDeviation() leaves a model alone that reads no such result", () => {
  const model = normalising(["y"]);
  assertEquals(withOwnDeviation(model), model);
});
