/** Lowering over a batch's sizes: one graph for the batches that it serves. */
import { assertEquals } from "@std/assert";
import { boundGraph } from "../../src/graph/bind_graph.ts";
import { asDims } from "../../src/graph/extents.ts";
import { Sizes } from "../../src/graph/size.ts";
import type { Tensor } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { bytesText, textOf } from "../../src/graph/graph_text.ts";
import { bindInputs } from "../../src/plan/inputs.ts";
import { lowerForTraining } from "../../src/plan/lower.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { adapted } from "../helpers/training_step.ts";

const HERE = { batch: 6, length: 100 };
const THERE = { batch: 11, length: 71 };

const valuesOf = (shape: typeof HERE) => new Map(Object.entries(shape));

/** Constants where they are read: which of them are equal by chance makes no difference. */
function inlined(graph: Graph): Graph {
  const text = ({ dtype, dims, bytes }: Tensor) => `${dtype}[${dims}]${bytesText(bytes)}`;
  const nodes = graph.nodes.map((node) => ({
    ...node,
    inputs: node.inputs.map((name) => {
      const constant = graph.initializers.get(name);
      return constant === undefined ? name : text(constant);
    }),
  }));
  return { ...graph, nodes, initializers: new Map() };
}

for (const name of ["tiny-llama-genai-fp32", "tiny-llama-genai-int4"]) {
  Deno.test(`lowerForTraining() over sizes gives the graph of every batch, attention in one piece, ${name}`, () => {
    const { model, trainable } = adapted(readModel(modelDir(name)));
    const how = { trainable, keepsAttention: true };
    const sizes = new Sizes(valuesOf(HERE));
    const [batch, length] = [sizes.symbol("batch"), sizes.symbol("length")];
    const bound = new Map(
      [...bindInputs(model.graph, HERE)].map(([name, { dtype, dims }]) => {
        const extents = dims.map((dim) =>
          dim === HERE.batch ? batch : dim === HERE.length ? length : dim
        );
        return [name, { dtype, dims: asDims(extents) }];
      }),
    );
    const graph = lowerForTraining(model, bound, ["logits"], how);
    const asked = sizes.decisions.map(({ text }) => text);
    assertEquals(asked, [
      "batch, 2 for all from 2 on",
      "length, 2 for all from 2 on",
      "length <= 256", // rows of the rotary tables
    ]);
    for (const shape of [HERE, THERE]) {
      const made = lowerForTraining(model, bindInputs(model.graph, shape), ["logits"], how);
      const found = boundGraph(graph, sizes.at(valuesOf(shape))!);
      assertEquals(textOf(inlined(found)), textOf(inlined(made)));
    }
  });
}
