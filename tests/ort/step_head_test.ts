import { assert, assertEquals } from "@std/assert";
import { node } from "../../src/graph/node.ts";
import { float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { graphAt } from "../../src/plan/call_graph.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { compareForward } from "../../src/train/compare_forward.ts";
import { besideFloats, checkFast } from "../../src/train/check_fast.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { withArithmetic } from "../helpers/arithmetic.ts";
import { callBytes } from "../helpers/call_bytes.ts";
import { withCodebook } from "../helpers/codebook_model.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import { EACH_ORT, testOnEachOrt } from "../helpers/oldest_ort.ts";
import { quantized } from "../helpers/quantized_model.ts";
import { withSampledVariants } from "../helpers/sampled.ts";
import { adapted, assertSame, batchOf, gradientsOf, rowsOf } from "../helpers/training_step.ts";

/** Its head lies as MatMul's [K, vocabulary]. */
const base = () => readModel(modelDir("tiny-llama-torch-fp32"));
const VOCABULARY = 512;
const batch = batchOf(rowsOf([9, 6, 16]), 16, "causal");

/** The model with one more operator behind its logits, and what that reads beside them. */
function withTail(model: Model, opType: string, operand: Tensor): Model {
  const { nodes, initializers } = model.graph;
  const renamed = nodes.map((node) => ({
    ...node,
    outputs: node.outputs.map((name) => name === "logits" ? "before" : name),
  }));
  return {
    ...model,
    graph: {
      ...model.graph,
      nodes: [...renamed, node(opType, ["before", "operand"], "logits")],
      initializers: new Map([...initializers, ["operand", operand]]),
    },
  };
}

/** A row added to the logits, as CodeGen and Phi have it. */
const withBias = (model: Model) =>
  withTail(
    model,
    "Add",
    float32([VOCABULARY], Float32Array.from({ length: VOCABULARY }, (_, i) => Math.sin(i))),
  );

/** The logits divided by a number, as Granite has it. */
const withScale = (model: Model) => withTail(model, "Div", float32([], [1.75]));

const HEADS: Readonly<Record<string, () => Model>> = {
  "floats": base,
  "8 bits per channel": () => quantized(base(), { bits: 8, minElements: 1024 }),
  "floats and a divisor": () => withScale(base()),
  "floats and a bias": () => withBias(base()),
  "a codebook of 4 bits": () => withCodebook(base(), "nf4"),
  "blocks of 4 bits and a bias": () => withBias(quantized(base(), { bits: 4, minElements: 1024 })),
};

for (const [[what, model], libraries] of withSampledVariants(Object.entries(HEADS), EACH_ORT)) {
  testOnEachOrt(
    `accumulate() has the same loss and gradients with a head of ${what} in chunks, and logits() the same logits`,
    async (ortLib) => {
      using runner = createOrtRunner({ threads: 1, ortLib });
      const made = adapted(model());
      const numbers = async (headChunk: number) => {
        using step = new PlannedModel({ runner, ...made, objective: "causal", headChunk });
        const compared = await compareForward(runner, made.model, step, batch);
        assert(compared.relativeDifference < 1e-5, `${compared.relativeDifference}`);
        const gradients = await gradientsOf(step, [batch]);
        const { lossSum, targetCount } = await step.evaluate(batch);
        const logits = toNumbers(await step.logits(batch)) as Float32Array;
        return { gradients, loss: lossSum / targetCount, logits };
      };
      const whole = await numbers(VOCABULARY);
      // 128 divides the vocabulary, 100 leaves a rest.
      for (const chunk of [128, 100]) {
        const { gradients, loss, logits } = await numbers(chunk);
        assertSame(gradients, whole.gradients);
        assert(Math.abs(loss - whole.loss) < 1e-5 * whole.loss, `loss ${loss}, not ${whole.loss}`);
        logits.forEach((value, i) => assert(Math.abs(value - whole.logits[i]) < 1e-5));
      }
    },
    libraries,
  );

  Deno.test(`fast rounds a head of ${what} in chunks, within the stated cosine`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const [integerForm] = RIGHT_FORMS;
    const arithmetic = arithmeticOf({ numeric: "fast", integerForm });
    const made = { ...adapted(model()), headChunk: 100, arithmetic };
    using step = new PlannedModel({ runner, ...made, objective: "causal" });
    const { cosine, passed } = await checkFast(step, besideFloats(arithmetic), [batch]);
    assert(passed && cosine > 0.99, `cosine ${cosine}`);
    const shape = { batch: 2, length: 8, targetRows: 16 };
    const { preprocessing } = planTraining(made.model, { ...shape, ...made });
    const rounded = preprocessing.filter(({ label }) => label.startsWith("8-bit head, chunk "));
    assertEquals(rounded.length, 6);
  });
}

Deno.test("planTraining() gives all chunks of a head in columns one graph where their runs divide it", () => {
  const { model, trainable } = adapted(base());
  const graphs = (headChunk: number) => {
    const shape = { batch: 2, length: 8, targetRows: 16, trainable, headChunk };
    const chunks = planTraining(model, shape).training.calls
      .filter(({ label }) => label.startsWith("head, chunk "));
    return [chunks.length, new Set(chunks.map(({ key }) => key)).size];
  };
  assertEquals(graphs(128), [4, 1]);
  assertEquals(graphs(100), [6, 6]);
  assertEquals(graphs(VOCABULARY), [0, 0]);
});

for (const numeric of ["exact", "fast"] as const) {
  Deno.test(`planTraining() holds a chunk of the head's logits in memory no more than twice, ${numeric}`, () => {
    const { model, trainable } = adapted(quantized(base(), { bits: 8, minElements: 1024 }));
    const [rows, headChunk] = [2048, VOCABULARY / 2];
    const { training } = planTraining(
      model,
      withArithmetic({
        ...{ batch: 8, length: 256, targetRows: rows, trainable, headChunk, numeric },
        passes: ["training"] as const,
      }),
    );
    const chunks = training.calls.filter(({ label }) => label.startsWith("head, chunk"));
    assertEquals(chunks.length, 2);
    const logitsBytes = rows * headChunk * Float32Array.BYTES_PER_ELEMENT;
    for (const chunk of chunks) {
      const times = callBytes(graphAt(chunk, training.sizes)).peak / logitsBytes;
      assert(times < 2.9, `${times} times the logits`);
    }
  });
}
