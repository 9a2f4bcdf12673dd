// Graphs that are long, or whose values are read twice again and again, take time in proportion.
import { assert } from "@std/assert";
import { processorMs } from "../../scripts/campaigns/hostile/process.ts";
import { readModel, writeModel } from "../../scripts/campaigns/hostile/mutators/messages.ts";
import { useModelAlone } from "../../scripts/campaigns/hostile/probes/model.ts";
import { inspectModel } from "../../src/model/inspect.ts";
import { decodeModel } from "../../src/onnx/mod.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { node } from "../helpers/onnx_messages.ts";

/** A model with a chain of nodes between its last node and the output. */
function withChain(depth: number, opType: string, inputs: number): Uint8Array {
  const model = readModel(
    Deno.readFileSync(`${modelDir("tiny-bert-dynamic-int8")}/model.onnx`),
  );
  const graph = model.graph!;
  const last = graph.node.at(-1)!;
  const output = last.output[0];
  last.output[0] = "chain.0";
  for (let i = 0; i < depth; i++) {
    const to = i === depth - 1 ? output : `chain.${i + 1}`;
    graph.node.push(node(opType, new Array(inputs).fill(`chain.${i}`), [to]));
  }
  return writeModel(model);
}

for (
  const [what, file] of [
    ["a value that is added to itself 60 times", withChain(60, "Add", 2)],
    ["a chain of 2,000 operators", withChain(2000, "Neg", 1)],
    ["a chain of 2,000 operators that change nothing", withChain(2000, "Identity", 1)],
  ] as const
) {
  Deno.test(`${what} is inspected, trained and run in time`, async () => {
    const start = processorMs();
    await useModelAlone(decodeModel(file), 4 * file.byteLength);
    const ms = processorMs() - start;
    assert(ms < 10_000, `it took ${ms} ms of the processor`);
  });
}

Deno.test("inspectModel() of a value that is joined to itself 40 times says that no memory holds it", () => {
  const model = decodeModel(withChain(40, "Concat", 2));
  const { training } = inspectModel(model, {
    sizeBytes: 1,
    rank: 2,
    batch: 2,
    length: 6,
    keepBytes: 1 << 20,
    shards: 1,
  });
  assert("problem" in training && training.problem.includes("which no memory holds"));
});
