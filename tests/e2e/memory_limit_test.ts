// Small files that ask for any amount of memory: verbs end with a clear error, within a gigabyte.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { forgetPeak, memoryOf } from "../../scripts/campaigns/hostile/process.ts";
import { EXIT } from "../../src/errors.ts";
import { int } from "../../src/graph/attributes.ts";
import type { Graph, Node } from "../../src/graph/types.ts";
import { encodeModel } from "../../src/onnx/mod.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LLAMA = modelDir("tiny-llama-torch-fp32");
const TIMES = 40;

/** The graph with its logits joined to themselves 40 times: 2^40 rows. */
function multiplied(graph: Graph): Graph {
  const values = Array.from({ length: TIMES }, (_, i) => `twice${i}`);
  const nodes = graph.nodes.map((node) => ({
    ...node,
    outputs: node.outputs.map((output) => output === "logits" ? values[0] : output),
  }));
  const joined = values.map((value, i): Node => ({
    name: `twice.${i}`,
    opType: "Concat",
    domain: "",
    inputs: [value, value],
    outputs: [values[i + 1] ?? "logits"],
    attributes: { axis: int(0) },
  }));
  return { ...graph, nodes: [...nodes, ...joined] };
}

/** A folder with that model, below a megabyte, and data. */
function multipliedFolder(folder: string): void {
  for (const { name } of Deno.readDirSync(LLAMA)) {
    if (!name.startsWith("model.")) Deno.copyFileSync(join(LLAMA, name), join(folder, name));
  }
  const model = readModel(LLAMA);
  const bytes = encodeModel({ ...model, graph: multiplied(model.graph) }, {
    external: () => "inline",
  });
  assert(bytes.byteLength < 1e6);
  Deno.writeFileSync(join(folder, "model.onnx"), bytes);
  Deno.writeTextFileSync(join(folder, "test.jsonl"), '{"text":"my card is lost"}\n');
}

for (
  const [verb, ...rest] of [["run", "my", "card", "-n", "2"], ["eval", "--data"]] as const
) {
  Deno.test(`graft ${verb} of a small graph that multiplies is refused below a gigabyte, naming the node`, () =>
    inTempDir(async (folder) => {
      multipliedFolder(folder);
      forgetPeak();
      const before = memoryOf().residentBytes;
      const data = verb === "eval" ? [folder] : [];
      const { code, stderr } = await graft(verb, folder, ...rest, ...data);
      assertEquals(code, EXIT.refused, stderr);
      assertStringIncludes(stderr, 'Concat "twice.');
      assertStringIncludes(stderr, "of the memory for this model's runs");
      const grown = memoryOf().peakBytes - before;
      assert(grown < 1e9, `it took ${grown} bytes`);
    }));
}
