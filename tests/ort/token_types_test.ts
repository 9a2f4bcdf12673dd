/** Models that take tokens in other types than int64, as some exporters and optimisers leave them. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { int } from "../../src/graph/attributes.ts";
import { type DataType, ONNX_TYPE } from "../../src/graph/dtype.ts";
import { node } from "../../src/graph/node.ts";
import type { Model } from "../../src/graph/types.ts";
import { bindInputs } from "../../src/plan/inputs.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { CausalModel } from "../../src/serve/causal_model.ts";
import { compareForward } from "../../src/train/compare_forward.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { adapted, assertSame, batchOf, gradientsOf, rowsOf } from "../helpers/training_step.ts";

/** The model with token inputs of other types, cast as it reads them. */
function taking(model: Model, types: Readonly<Record<string, DataType>>): Model {
  const { graph } = model;
  const inputs = graph.inputs.map((input) => {
    const dtype = types[input.name];
    return dtype === undefined ? input : { name: input.name, type: { ...input.type!, dtype } };
  });
  const read = (name: string) => name in types ? `${name}.int64` : name;
  const casts = Object.keys(types).map((name) =>
    node("Cast", [name], read(name), { to: int(ONNX_TYPE.int64) })
  );
  const nodes = graph.nodes.map((each) => ({
    ...each,
    inputs: each.inputs.map(read),
    rest: undefined,
  }));
  return { ...model, graph: { ...graph, inputs, nodes: [...casts, ...nodes] } };
}

const MODELS = {
  "tiny-bert-torch-fp32": "classification",
  "tiny-llama-torch-fp32": "causal",
} as const;
const TYPES: readonly Readonly<Record<string, DataType>>[] = [
  { input_ids: "int32", attention_mask: "int32" },
  { attention_mask: "float32" },
  { attention_mask: "bool" },
];

for (const [name, objective] of Object.entries(MODELS)) {
  for (const types of TYPES) {
    Deno.test(`a training step of ${name} with ${Object.entries(types).join(" and ")} is that with int64`, async () => {
      using runner = createOrtRunner({ threads: 1 });
      const batch = batchOf(rowsOf([9, 6]), 9, objective);
      const step = async (model: Model) => {
        const made = adapted(model);
        using step = new PlannedModel({ runner, ...made, objective });
        const { relativeDifference } = await compareForward(runner, made.model, step, batch);
        assert(relativeDifference < 1e-5, `${relativeDifference}`);
        return await gradientsOf(step, [batch]);
      };
      const model = readModel(modelDir(name));
      assertSame(await step(taking(model, types)), await step(model));
    });
  }
}

Deno.test("compareForward() refuses a model with an input that is no token's, naming it", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const model = readModel(modelDir("tiny-llama-torch-fp32"));
  const branch = { name: "use_cache_branch", type: { dtype: "bool", shape: [1] } } as const;
  const inputs = [...model.graph.inputs, branch];
  const made = adapted({ ...model, graph: { ...model.graph, inputs } });
  using step = new PlannedModel({ runner, ...made, objective: "causal" });
  const batch = batchOf(rowsOf([9, 6]), 9, "causal");
  await assertRejects(
    () => compareForward(runner, made.model, step, batch),
    BadInputError,
    'Cannot feed input "use_cache_branch": graft feeds input_ids, attention_mask',
  );
});

Deno.test("CausalModel reads tokens into int32 as into int64", async () => {
  const model = readModel(modelDir("tiny-llama-torch-fp32"));
  const logits = async (model: Model) => {
    using runner = createOrtRunner({ threads: 1 });
    using executable = await runner.compile(model);
    using causal = new CausalModel(runner, executable, model.graph);
    return await causal.advance([1, 45, 300, 17]);
  };
  const found = await logits(taking(model, { input_ids: "int32", attention_mask: "int32" }));
  assertEquals(found, await logits(model));
});

Deno.test("bindInputs() refuses tokens of a type that graft does not feed, naming input and type", () => {
  const { graph } = taking(readModel(modelDir("tiny-bert-torch-fp32")), { input_ids: "uint8" });
  assertThrows(
    () => bindInputs(graph, { batch: 1, length: 4 }),
    BadInputError,
    'input "input_ids": its type must be one of int64, int32, float32, bool: current value is uint8',
  );
});

Deno.test("bindInputs() refuses a batch of another shape than the only one that a model takes", () => {
  const { graph } = readModel(modelDir("tiny-bert-torch-fp32"));
  const inputs = graph.inputs.map(({ name, type }) => ({
    name,
    type: { ...type!, shape: [1, 16] },
  }));
  bindInputs({ ...graph, inputs }, { batch: 1, length: 16 });
  assertThrows(
    () => bindInputs({ ...graph, inputs }, { batch: 2, length: 16 }),
    BadInputError,
    'input "input_ids" [1, 16] to a batch [2, 16]: export the model with a batch size',
  );
});
