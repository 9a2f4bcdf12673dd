import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import type { Graph, Model } from "../../src/graph/types.ts";
import { prune } from "../../src/graph/passes/prune.ts";
import { encodeModel } from "../../src/onnx/mod.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { pairs, readMetrics, requests } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** Losses of a run's first and last step, and its last validation loss. */
function lossesOf(adapter: string) {
  const metrics = readMetrics(adapter);
  const training = metrics.flatMap(({ loss }) => loss ?? []);
  const validation = metrics.flatMap(({ val_loss }) => val_loss ?? []);
  return { first: training[0], last: training.at(-1)!, validation: validation.at(-1)! };
}

interface Run {
  readonly model: string;
  /** Eight rows, to be learned by heart. */
  readonly rows: string;
  readonly extension: "jsonl" | "csv";
  readonly flags?: readonly string[];
  /** Share of the first loss that may be left. */
  readonly left: number;
  /** How far the inference graph's loss may lie from the trainer's. */
  readonly tolerance: number;
}

/**
 * Trains 40 steps on eight rows, with the same rows to validate on, then evaluates the saved
 * adapter through the inference graph.
 */
async function checkFit(path: string, run: Run): Promise<void> {
  for (const part of ["train", "valid"]) {
    Deno.writeTextFileSync(join(path, `${part}.${run.extension}`), run.rows);
  }
  const adapter = join(path, "adapter");
  const trained = await graft(
    "train",
    ...["--model", run.model, "--data", path, "--adapter-path", adapter, "--threads=1"],
    ...["--iters=40", "--batch-size=8", "--learning-rate=2e-2", "--no-load-best"],
    ...["--steps-per-report=1", "--steps-per-eval=40", "--target-modules=all-linear"],
    ...run.flags ?? [],
  );
  assertEquals(trained.code, 0, trained.stderr);
  const { first, last, validation } = lossesOf(adapter);
  assert(last < run.left * first, `the loss fell from ${first} to ${last} only`);
  assert(validation < run.left * first, `validation on the training rows gives ${validation}`);

  const evaluated = await graft(
    ...["eval", "--model", run.model, "--adapter-path", adapter, "--json", "--threads=1"],
    ...["--data", join(path, `valid.${run.extension}`)],
  );
  assertEquals(evaluated.code, 0, evaluated.stderr);
  const { loss } = JSON.parse(evaluated.stdout);
  const off = Math.abs(loss - validation);
  assert(off <= run.tolerance, `the trainer said ${validation}, the inference graph gives ${loss}`);
}

Deno.test("graft train learns eight rows by heart, and the adapter's graph repeats its loss", () =>
  inTempDir((path) =>
    checkFit(path, {
      model: modelDir("tiny-llama-torch-fp32"),
      rows: pairs(8),
      extension: "jsonl",
      left: 0.2,
      tolerance: 1e-4,
    })
  ));

Deno.test("graft train learns eight rows by heart over int4 weights", () =>
  inTempDir((path) =>
    checkFit(path, {
      model: modelDir("tiny-llama-genai-int4"),
      rows: pairs(8),
      extension: "jsonl",
      left: 0.2,
      tolerance: 1e-2,
    })
  ));

/** An encoder without scores: the fixture's classifier ends at its token states. */
function headless(name: string): Model {
  const model = readModel(modelDir(name));
  const norms = model.graph.nodes.filter(({ opType }) => opType === "LayerNormalization");
  const states = norms.at(-1)!.outputs[0];
  const width = model.graph.initializers.get(norms.at(-1)!.inputs[1])!.dims[0];
  const output = {
    name: states,
    type: { dtype: "float32" as const, shape: ["batch", "sequence", width] },
  };
  const graph: Graph = { ...model.graph, outputs: [output] };
  return { ...model, graph: prune(graph) };
}

for (
  const [name, tolerance] of [["tiny-bert-torch-fp32", 1e-4], [
    "tiny-bert-dynamic-int8",
    0.1,
  ]] as const
) {
  Deno.test(`graft train learns eight rows by heart with a new head, ${name}`, () =>
    inTempDir(async (path) => {
      const model = join(path, "encoder");
      Deno.mkdirSync(model);
      for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
        Deno.copyFileSync(join(modelDir(name), file), join(model, file));
      }
      const bytes = encodeModel(headless(name), { external: () => "inline" });
      Deno.writeFileSync(join(model, "model.onnx"), bytes);
      await checkFit(path, {
        model,
        rows: requests(8),
        extension: "csv",
        left: 0.2,
        tolerance,
      });
    }));
}

for (
  const [flags, taskType] of [[[], null], [["--modules-to-save=classifier"], "SEQ_CLS"]] as const
) {
  Deno.test(`graft train ${flags.join()} calls a classifier's adapter ${taskType} for PEFT`, () =>
    inTempDir(async (path) => {
      Deno.writeTextFileSync(`${path}/rows.csv`, requests(8));
      const { code, stderr } = await graft(
        ...["train", "--model", modelDir("tiny-bert-torch-fp32"), "--data", `${path}/rows.csv`],
        ...["--adapter-path", `${path}/adapter`, "--iters=1", "--target-modules=query", ...flags],
      );
      assertEquals(code, 0, stderr);
      const config = JSON.parse(Deno.readTextFileSync(`${path}/adapter/adapter_config.json`));
      // PEFT wants a head in every adapter of a SEQ_CLS.
      assertEquals(config.task_type, taskType);
    }));
}
