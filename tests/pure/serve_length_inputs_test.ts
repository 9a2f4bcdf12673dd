import { assertEquals } from "@std/assert";
import { float32, int64 } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { withLengthInputs } from "../../src/serve/length_inputs.ts";
import { COUNTING, plainNode } from "../helpers/genai_lengths.ts";

/** Two layers of attention, as onnxruntime-genai's builder tells them of lengths. */
function genai(more: readonly Node[] = []): Model {
  const attention = (i: number) =>
    plainNode(
      "GroupQueryAttention",
      [`q${i}`, "k", "v", "past_k", "past_v", "lengths", "total", "cos", "sin"],
      [`q${i + 1}`, `present_k${i}`, `present_v${i}`],
    );
  const nodes = [
    ...COUNTING,
    ...more,
    attention(0),
    attention(1),
  ];
  const table = float32([40, 4], new Float32Array(160));
  const names = ["q0", "k", "v", "past_k", "past_v", "attention_mask"];
  const graph: Graph = {
    name: "",
    inputs: names.map((name) => ({ name })),
    outputs: [{ name: "q2" }],
    initializers: new Map([["cos", table], ["sin", table], ["one", int64([1], [1])]]),
    nodes,
    valueInfo: new Map(),
  };
  return { irVersion: 8, opsets: { "": 17 }, metadata: {}, graph };
}

Deno.test("withLengthInputs() has attention read lengths that are told, and nothing count the mask", () => {
  const { model: { graph }, longest } = withLengthInputs(genai())!;
  assertEquals(graph.nodes.map(({ opType, inputs }) => [opType, inputs.slice(5, 7)]), [
    ["GroupQueryAttention", ["graft.filled_length", "graft.total_length"]],
    ["GroupQueryAttention", ["graft.filled_length", "graft.total_length"]],
  ]);
  assertEquals(graph.inputs.slice(-2), [
    { name: "graft.filled_length", type: { dtype: "int32", shape: [1] } },
    { name: "graft.total_length", type: { dtype: "int32", shape: [] } },
  ]);
  assertEquals(graph.inputs.some(({ name }) => name === "attention_mask"), false);
  assertEquals([...graph.initializers.keys()], ["cos", "sin"]);
  assertEquals(longest, 40, "the table of rotations' rows");
});

Deno.test("withLengthInputs() leaves a model alone whose mask says more than lengths", () => {
  const positions = plainNode("CumSum", ["attention_mask", "one"], ["past_k"]);
  assertEquals(withLengthInputs(genai([positions])), undefined);
});
