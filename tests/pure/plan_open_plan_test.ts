import { assertEquals, assertThrows } from "@std/assert";
import { node } from "../../src/graph/node.ts";
import { float32, int64 } from "../../src/graph/tensor.ts";
import type { Graph, Model } from "../../src/graph/types.ts";
import { neighbourPlans } from "../../src/plan/open_plan.ts";
import { planTraining, type TrainingPlan } from "../../src/plan/plan.ts";

const WIDTH = 8;

/** Embeddings plus the first `length` of 20 positions, and a head. */
function withPositions(): Model {
  const weight = (...dims: number[]) =>
    float32(dims, new Float32Array(dims.reduce((a, c) => a * c)).fill(0.1));
  const graph: Graph = {
    name: "positions",
    inputs: [{ name: "input_ids", type: { dtype: "int64", shape: ["batch", "length"] } }],
    outputs: [{ name: "logits", type: { dtype: "float32", shape: ["batch", "length", 11] } }],
    initializers: new Map([
      ["embedding", weight(11, WIDTH)],
      ["positions", weight(1, 20, WIDTH)],
      ["head", weight(WIDTH, 11)],
      ["zero", int64([1], [0])],
      ["one", int64([1], [1])],
    ]),
    nodes: [
      node("Shape", ["input_ids"], "shape"),
      node("Gather", ["shape", "one"], "length"),
      node("Slice", ["positions", "zero", "length", "one"], "position"),
      node("Gather", ["embedding", "input_ids"], "embedded"),
      node("Add", ["embedded", "position"], "hidden"),
      node("MatMul", ["hidden", "head"], "logits"),
    ],
    valueInfo: new Map(),
  };
  return { irVersion: 10, opsets: { "": 21 }, graph, metadata: {} };
}

const trainable = new Set(["head"]);
const sizesOf = (plans: Iterable<TrainingPlan>) =>
  [...plans].map(({ options: { batch, length } }) => [batch, length]);

Deno.test("neighbourPlans() plans a longer, a shorter and an equally long batch of other sizes", () => {
  const model = withPositions();
  const plan = planTraining(model, { batch: 2, length: 12, trainable });
  assertEquals(sizesOf(neighbourPlans(model, plan)), [[3, 20], [3, 4], [3, 12]]);
});

Deno.test("neighbourPlans() leaves out a length that the model has no positions for", () => {
  const model = withPositions();
  const plan = planTraining(model, { batch: 2, length: 16, trainable });
  assertEquals(sizesOf(neighbourPlans(model, plan)), [[3, 8], [3, 16]]);
});

Deno.test("neighbourPlans() throws what else is wrong with a model", () => {
  const model = withPositions();
  const plan = planTraining(model, { batch: 2, length: 12, trainable });
  const nodes = [...model.graph.nodes, node("Unknown", ["hidden"], "logits")]
    .filter(({ opType }) => opType !== "MatMul");
  const other = { ...model, graph: { ...model.graph, nodes } };
  assertThrows(() => [...neighbourPlans(other, plan)], Error, "Unknown");
});

Deno.test("neighbourPlans() leaves out a length whose packed batch has no token", () => {
  const model = withPositions();
  const plan = planTraining(model, { batch: 1, length: 9, packedRows: 8, trainable });
  assertEquals(sizesOf(neighbourPlans(model, plan)), [[1, 17], [1, 9]]);
});
