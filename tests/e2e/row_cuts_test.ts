import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import { int } from "../../src/graph/attributes.ts";
import { node } from "../../src/graph/node.ts";
import type { Dim, Model } from "../../src/graph/types.ts";
import { encodeModel } from "../../src/onnx/mod.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const BERT = modelDir("tiny-bert-torch-fp32");
const ROWS = [
  ["where is it", "lost"],
  ["it was stolen by them", "stolen"],
  ["late", "late"],
  ["it fell apart", "broken"],
  ["still on the way", "other"],
].map(([text, label]) => JSON.stringify({ text, label }) + "\n").join("");

/** The model with the dimensions of its inputs replaced. */
function shaped(model: Model, shape: readonly Dim[]): Model {
  const inputs = model.graph.inputs.map((input) => ({
    ...input,
    type: { ...input.type!, shape },
  }));
  return { ...model, graph: { ...model.graph, inputs } };
}

/** The model with a mask of its own, all ones. */
function maskless(model: Model): Model {
  const inputs = model.graph.inputs.filter(({ name }) => name !== "attention_mask");
  const nodes = [
    node("Equal", ["input_ids", "input_ids"], "same"),
    node("Cast", ["same"], "attention_mask", { to: int(7) }),
    ...model.graph.nodes,
  ];
  return { ...model, graph: { ...model.graph, inputs, nodes } };
}

const VARIANTS: Readonly<Record<string, (model: Model) => Model>> = {
  "as it is": (model) => model,
  "without a mask": maskless,
  "of sequences of 16 tokens": (model) => shaped(model, ["batch", 16]),
  "of one sequence of 16 tokens": (model) => shaped(model, [1, 16]),
};

/** What a model's losses are, evaluated, trained and served. */
async function figuresOf(path: string, model: Model) {
  Deno.mkdirSync(path);
  for (const { name } of Deno.readDirSync(BERT)) {
    Deno.copyFileSync(join(BERT, name), join(path, name));
  }
  Deno.writeFileSync(join(path, "model.onnx"), encodeModel(model));
  const data = join(path, "rows.jsonl");
  Deno.writeTextFileSync(data, ROWS);
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await graft(...args);
    assertEquals(code, EXIT.ok, stderr);
    return { stdout, stderr };
  };
  const evaluated = await run("eval", path, "--data", data, "--json");
  const adapter = join(path, "adapter");
  const { stderr } = await run(
    ...["train", "--model", path, "--data", data, "--iters", "3", "--learning-rate", "1e-2"],
    ...["--batch-size", "5", "--no-shuffle", "--steps-per-report", "1", "--adapter-path", adapter],
  );
  const losses = Deno.readTextFileSync(join(adapter, "metrics.jsonl")).trim().split("\n")
    .map((line) => JSON.parse(line).loss as number);
  const adapted = await run("eval", path, "--data", data, "--json", "--adapter-path", adapter);
  const { stdout } = await run("run", path, "it was stolen", "--json");
  const figures = [
    JSON.parse(evaluated.stdout).loss,
    ...losses,
    JSON.parse(adapted.stdout).loss,
    JSON.parse(stdout).probability,
  ];
  return { figures, stderr };
}

Deno.test("graft eval, train and run give a model one result whatever batches it takes", () =>
  inTempDir(async (path) => {
    const model = readModel(BERT);
    let expected: readonly number[] | undefined;
    for (const [i, [what, change]] of Object.entries(VARIANTS).entries()) {
      const { figures, stderr } = await figuresOf(join(path, `${i}`), change(model));
      expected ??= figures;
      figures.forEach((value, i) =>
        assert(Math.abs(value - expected![i]) < 1e-4, `${what}: ${figures}, not ${expected}`)
      );
      const says = "depends on the padding behind a text";
      if (what === "without a mask") assertStringIncludes(stderr, says);
      else assert(!stderr.includes(says));
    }
  }));
