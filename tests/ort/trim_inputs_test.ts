// Optional inputs at the end of a node may be left out, or have an empty name: for the bias of a
// LayerNormalization ONNX Runtime would end the process.
import { assertEquals } from "@std/assert";
import { trimInputs } from "../../src/graph/passes/trim_inputs.ts";
import type { Graph, Model } from "../../src/graph/types.ts";
import { whyNotLoaded } from "../../src/model/latency.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { runOutput, tokenFeeds } from "../helpers/logits.ts";

/** The model with one more input, of no name, at nodes of an operator. */
function withBlanks(model: Model, opType: string): Model {
  const nodes = model.graph.nodes.map((node) =>
    node.opType === opType ? { ...node, inputs: [...node.inputs, ""] } : node
  );
  return { ...model, graph: { ...model.graph, nodes } };
}

Deno.test("compile() of LayerNormalization with an empty name for its bias computes what it does without", async () => {
  const model = readModel(modelDir("dialects/modernbert"));
  const [{ name: output }] = model.graph.outputs;
  using runner = createOrtRunner({ threads: 1 });
  const run = (model: Model) => runOutput(runner, model, tokenFeeds(2, 6, 100), output);
  assertEquals(await run(withBlanks(model, "LayerNormalization")), await run(model));
});

Deno.test("trimInputs() takes the bias of no name from LayerNormalization alone, in branches as well", () => {
  const model = readModel(modelDir("dialects/modernbert"));
  assertEquals(trimInputs(model) === model, true);
  const norm = {
    ...model.graph.nodes.find(({ opType }) => opType === "LayerNormalization")!,
    inputs: ["x", "w", ""],
  };
  const clip = { ...norm, opType: "Clip" };
  const branch: Graph = { ...model.graph, nodes: [norm] };
  const choice = {
    ...norm,
    opType: "If",
    inputs: ["condition"],
    attributes: { then_branch: { kind: "graph" as const, value: branch } },
  };
  const found = trimInputs({ ...model, graph: { ...model.graph, nodes: [norm, clip, choice] } });
  const [first, other, last] = found.graph.nodes;
  assertEquals([first.inputs, other], [["x", "w"], clip]);
  const { then_branch } = last.attributes;
  assertEquals(then_branch.kind === "graph" && then_branch.value.nodes[0].inputs, first.inputs);
});

Deno.test("whyNotLoaded() keeps files from being timed that ONNX Runtime is given in another form", () => {
  const model = readModel(modelDir("dialects/modernbert"));
  assertEquals(whyNotLoaded(model), undefined);
  const found = whyNotLoaded(withBlanks(model, "LayerNormalization")) ?? "";
  assertEquals(found.startsWith("Latency is left out: ONNX Runtime may crash"), true);
});
