import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { evaluateModel } from "../../src/eval/evaluate.ts";
import { ROW_LOGITS, withLoss } from "../../src/eval/loss_graph.ts";
import { RowLosses } from "../../src/eval/row_losses.ts";
import { type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model, Node } from "../../src/graph/types.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { mean, relativeDistance } from "../../src/statistics.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { targetsOf, type TokenBatch } from "../../src/data/targets.ts";
import { modelDir, readModel, referenceDir } from "../helpers/fixture_models.ts";
import { oracleBatch, readOracle, readTensors } from "../helpers/oracle.ts";

const PHASES = ["base", "init", "after_10_steps"] as const;

/** How far a loss may be from PyTorch's: graphs that round activations to 8 bits have more room. */
const CASES = [
  ["tiny-llama-fp32.qv", "tiny-llama-genai-fp32", 1e-5],
  ["tiny-llama-fp32.qv", "tiny-llama-torch-fp32", 1e-5],
  ["tiny-llama-fp32.all", "tiny-llama-genai-fp32", 1e-5],
  ["tiny-llama-int4.all", "tiny-llama-genai-int4", 0.01],
  ["tiny-bert-fp32.qv", "tiny-bert-torch-fp32", 1e-5],
  ["tiny-bert-int8.qv", "tiny-bert-dynamic-int8", 0.02],
] as const;

/** Mean cross-entropy of reference logits at the batch's targets. */
function lossOf(logits: Tensor, batch: TokenBatch): number {
  const { positions, labels, count } = targetsOf(batch);
  const classes = logits.dims.at(-1)!;
  const values = toNumbers(logits);
  let sum = 0;
  for (let row = 0; row < count; row++) {
    const start = (positions?.[row] ?? row) * classes;
    const own = Array.from({ length: classes }, (_, c) => Number(values[start + c]));
    const max = Math.max(...own);
    sum += Math.log(own.reduce((a, v) => a + Math.exp(v - max), 0)) + max - own[labels[row]];
  }
  return sum / count;
}

function oracle(reference: string, model: string) {
  const tensors = readTensors(`${referenceDir(reference)}/tensors.safetensors`);
  const description = readOracle(reference);
  const batch = oracleBatch(description, tensors);
  const base = readModel(modelDir(model));
  const objective = description.task === "CAUSAL_LM" ? "causal" : "classification";
  return { tensors, description, batch, base, objective } as const;
}

/** The model with the oracle's adapter of a phase. */
function at(phase: typeof PHASES[number], reference: string, base: Model): Model {
  if (phase === "base") return base;
  return applyAdapter(base, loadAdapter(`${referenceDir(reference)}/adapter_${phase}`).adapter)
    .model;
}

for (const [reference, name, tolerance] of CASES) {
  Deno.test(`evaluateModel() of ${name} gives PyTorch's loss of ${reference} without and with adapters`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const { tensors, description, batch, base, objective } = oracle(reference, name);
    const losses: number[] = [];
    for (const phase of PHASES) {
      const { loss } = await evaluateModel(runner, at(phase, reference, base), [batch], {
        objective,
      });
      assertAlmostEquals(loss, lossOf(tensors.get(`logits_${phase}`)!, batch), tolerance);
      losses.push(loss);
    }
    assertAlmostEquals(losses[1], description.loss_init, tolerance);
    assert(losses[2] < losses[1] - 0.1, `training did not show: ${losses}`);
  });
}

Deno.test("evaluateModel() of int4 weights with activations in floats gives PyTorch's loss", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { tensors, batch, base } = oracle("tiny-llama-int4.all", "tiny-llama-genai-int4");
  const nodes = base.graph.nodes.map((node): Node =>
    node.opType !== "MatMulNBits" ? node : {
      ...node,
      attributes: { ...node.attributes, accuracy_level: { kind: "int", value: 1 } },
      rest: undefined,
    }
  );
  const model = { ...base, graph: { ...base.graph, nodes } };
  const { loss } = await evaluateModel(runner, model, [batch], { objective: "causal" });
  assertAlmostEquals(loss, lossOf(tensors.get("logits_base")!, batch), 1e-5);
});

/** The same batch one sequence at a time. */
function split(batch: TokenBatch): TokenBatch[] {
  const [sequences, length] = batch.inputIds.dims;
  const row = (value: Tensor, s: number): Tensor => ({
    ...value,
    dims: [1, length],
    bytes: value.bytes.slice(s * length * 8, (s + 1) * length * 8),
  });
  return Array.from({ length: sequences }, (_, s) => ({
    inputIds: row(batch.inputIds, s),
    attentionMask: row(batch.attentionMask, s),
    ...batch.labels && { labels: Array.from(batch.labels).slice(s * length, (s + 1) * length) },
    ...batch.classIds && { classIds: [batch.classIds[s]] },
    tokenCount: length,
  }));
}

for (const [reference, name] of [CASES[0], CASES[4]]) {
  Deno.test(`evaluateModel() of ${name} weighs batches by their targets`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const { batch, base, objective } = oracle(reference, name);
    const whole = await evaluateModel(runner, base, [batch], { objective });
    const parts = await evaluateModel(runner, base, split(batch), { objective });
    assertAlmostEquals(parts.loss, whole.loss, 1e-6);
    assertEquals(
      [parts.count, parts.accuracy, parts.macroF1],
      [whole.count, whole.accuracy, whole.macroF1],
    );
  });
}

Deno.test("evaluateModel() gives perplexity for language models, accuracy for classifiers", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const text = oracle("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  const causal = await evaluateModel(runner, text.base, [text.batch], { objective: "causal" });
  assertAlmostEquals(causal.perplexity!, Math.exp(causal.loss), 1e-9);
  assertEquals([causal.accuracy, causal.macroF1], [undefined, undefined]);
  const classes = oracle("tiny-bert-fp32.qv", "tiny-bert-torch-fp32");
  const trained = at("after_10_steps", "tiny-bert-fp32.qv", classes.base);
  const found = await evaluateModel(runner, trained, [classes.batch], {
    objective: "classification",
  });
  assertEquals([found.accuracy, found.macroF1, found.perplexity], [1, 1, undefined]);
});

Deno.test("evaluateModel() reads a loss per target, and logits of the rows asked for only", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { batch, base, tensors } = oracle("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  const before = runner.traffic.readBytes;
  const { count } = await evaluateModel(runner, base, [batch], { objective: "causal" });
  assertEquals(runner.traffic.readBytes - before, count * 4);
  const { logits } = await evaluateModel(runner, base, [batch], {
    objective: "causal",
    logitRows: 3,
  });
  assertEquals(logits.length, 3 * 512);
  const reference = toNumbers(tensors.get("logits_base")!);
  const { positions } = targetsOf(batch);
  for (let i = 0; i < logits.length; i++) {
    const expected = Number(reference[positions![Math.floor(i / 512)] * 512 + i % 512]);
    assertAlmostEquals(logits[i], expected, 1e-4);
  }
});

Deno.test("evaluateModel() gives the same in pieces of few weights", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { batch, base, objective } = oracle("tiny-llama-int4.all", "tiny-llama-genai-int4");
  const how = { objective, logitRows: 3 } as const;
  const whole = await evaluateModel(runner, base, [batch], how);
  const pieces = await evaluateModel(runner, base, [batch], { ...how, weightBytesAtOnce: 1 });
  assertAlmostEquals(pieces.loss, whole.loss, 1e-6);
  assert(relativeDistance(pieces.logits, whole.logits) < 1e-6);
});

Deno.test("RowLosses gives the losses of all targets in order, few rows at a time", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { batch, base, tensors } = oracle("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  using sessions = new DisposableStack();
  const open = async (model: Model) => sessions.use(await runner.compile(model));
  const scoresOf = async (rows: number) => {
    const losses: number[] = [];
    const logits: number[] = [];
    for await (
      const scored of new RowLosses(runner, base, open, rows).of([batch, batch], () => true)
    ) {
      assert(scored.count <= rows);
      losses.push(...toNumbers(scored.losses.read()) as Float32Array);
      logits.push(...toNumbers(scored.logits!.read()) as Float32Array);
    }
    return { losses, logits };
  };
  const { count } = targetsOf(batch);
  const whole = await scoresOf(count);
  assertEquals(whole.losses.length, 2 * count);
  assertAlmostEquals(mean(whole.losses), lossOf(tensors.get("logits_base")!, batch), 1e-5);
  const few = await scoresOf(3);
  for (const what of ["losses", "logits"] as const) {
    assertEquals(few[what].length, whole[what].length);
    assert(relativeDistance(few[what], whole[what]) < 1e-6);
  }
});

Deno.test("withLoss() also fits a model whose head cannot be cut to the target rows", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { batch, base } = oracle("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  const expected = await evaluateModel(runner, base, [batch], { objective: "causal" });
  // There and back again through the transposed logits, so that rows do not stand alone.
  const { graph } = base;
  const turn = (input: string, output: string): Node => ({
    name: output,
    opType: "Transpose",
    domain: "",
    inputs: [input],
    outputs: [output],
    attributes: { perm: { kind: "ints", value: [1, 0, 2] } },
  });
  const nodes = graph.nodes.flatMap((node): Node[] =>
    node.outputs.includes("logits")
      ? [
        { ...node, outputs: ["scores"], rest: undefined },
        turn("scores", "transposed"),
        turn("transposed", "logits"),
      ]
      : [node]
  );
  const transposed = { ...base, graph: { ...graph, nodes } };
  assert(withLoss(transposed).graph.outputs.some(({ name }) => name === ROW_LOGITS));
  const found = await evaluateModel(runner, transposed, [batch], { objective: "causal" });
  assertAlmostEquals(found.loss, expected.loss, 1e-6);
});

Deno.test("evaluateModel() refuses to give a mean of nothing", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { base, batch } = oracle("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  const nothing = { ...batch, labels: Array.from(batch.labels!, () => -100) };
  for (const batches of [[], [nothing]]) {
    await assertRejects(
      () => evaluateModel(runner, base, batches, { objective: "causal" }),
      RangeError,
      "nothing to evaluate",
    );
  }
});
