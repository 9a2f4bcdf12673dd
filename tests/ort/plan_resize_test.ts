import { assert, assertEquals } from "@std/assert";
import type { Tensor } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { bytesText, textOf } from "../../src/graph/graph_text.ts";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planTraining, type TrainingPlan } from "../../src/plan/plan.ts";
import { resizePlan, templateRows } from "../../src/plan/resize_plan.ts";
import type { Schedule } from "../../src/plan/schedule.ts";
import { PlanTemplates } from "../../src/train/plan_templates.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { planText } from "../helpers/plan_text.ts";
import { adapted, STEP_MODELS } from "../helpers/training_step.ts";

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

/** A plan without what a resized one has otherwise: keys, and the bytes that it keeps. */
function comparable(plan: TrainingPlan): TrainingPlan {
  const keyed = (schedule: Schedule): Schedule => ({
    ...schedule,
    calls: schedule.calls.map((call) => ({ ...call, key: textOf(inlined(call.graph)) })),
  });
  const { training, evaluation, logits } = plan;
  return {
    ...plan,
    savedBytes: 0,
    training: keyed(training),
    evaluation: keyed(evaluation),
    logits: keyed(logits),
  };
}

const placesOf = (
  { training: { memory } }: TrainingPlan,
) => [memory.bytes, ...memory.placements.values()];
const inputsOf = ({ inputs }: TrainingPlan) => [...inputs].sort(([a], [b]) => a < b ? -1 : 1);

for (const [name, objective] of Object.entries(STEP_MODELS)) {
  for (const numeric of ["exact", "fast"] as const) {
    Deno.test(`resizePlan() gives the plan that is made for other numbers of rows, ${name}, ${numeric}`, () => {
      // Masks have constants of their own.
      const dropout = 0.2;
      const { model, trainable } = adapted(readModel(modelDir(name)), { dropout });
      const rowsOf = (packedRows: number, targetRows: number) =>
        objective === "causal" ? { packedRows, targetRows } : { packedRows };
      for (const keepBytes of [0, 1e9]) {
        const options: PlanOptions = {
          ...{ batch: 8, length: 40, trainable, keepBytes, passes: ["training"] },
          arithmetic: arithmeticOf({ numeric }),
          dropout,
          ...rowsOf(200, 160),
        };
        const template = planTraining(model, { ...options, ...templateRows(options) });
        for (const [packedRows, targetRows] of [[200, 160], [216, 136], [150, 101]]) {
          const rows = rowsOf(packedRows, targetRows);
          const planned = planTraining(model, { ...options, ...rows });
          const resized = resizePlan(template, rows)!;
          assertEquals(
            planText(model, comparable(resized)),
            planText(model, comparable(planned)),
            JSON.stringify({ keepBytes, ...rows }),
          );
          assertEquals(placesOf(resized), placesOf(planned));
          assertEquals(inputsOf(resized), inputsOf(planned));
          for (const [constant, { bytes }] of resized.constants) {
            assert(bytes.buffer === template.constants.get(constant)!.bytes.buffer, "a view");
          }
        }
      }
    });
  }
}

Deno.test("resizePlan() of a language model whose sequences begin alike gives the plan that is made for other numbers of rows", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  for (const prefixSums of ["together", "by sequence"] as const) {
    const options: PlanOptions = {
      ...{ batch: 4, length: 80, trainable, keepBytes: 1e9, passes: ["training"] },
      ...{ prefixSums, commonTokens: 24, packedRows: 200, targetRows: 160 },
    };
    const template = planTraining(model, { ...options, ...templateRows(options) });
    for (const [packedRows, targetRows] of [[200, 160], [184, 136]]) {
      const rows = { packedRows, targetRows };
      const planned = planTraining(model, { ...options, ...rows });
      const resized = resizePlan(template, rows)!;
      assertEquals(planText(model, comparable(resized)), planText(model, comparable(planned)));
      assertEquals(placesOf(resized), placesOf(planned));
    }
  }
});

Deno.test("resizePlan() gives calls of two templates one key where they are the same graph alone", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const options = { batch: 8, length: 40, trainable, passes: ["training"] } as const;
  const graphs = new Map<string, string>();
  // What is a number of packed rows in one is one of target rows in the other.
  for (const template of [[293, 257], [257, 251]]) {
    const [packedRows, targetRows] = template;
    const plan = planTraining(model, { ...options, packedRows, targetRows });
    for (
      const { key, graph } of resizePlan(plan, { packedRows: 200, targetRows: 128 })!.training.calls
    ) {
      const text = textOf(graph);
      assertEquals(graphs.get(key) ?? text, text);
      graphs.set(key, text);
    }
  }
});

Deno.test("templateRows() finds primes that are no smaller and leave room for padding", () => {
  const options = { batch: 4, length: 112, trainable: new Set<string>() };
  const of = (packedRows: number | undefined, targetRows?: number, length = 112) => {
    const found = templateRows({ ...options, length, packedRows, targetRows });
    return found && [found.packedRows, found.targetRows];
  };
  assertEquals(of(352, 32), [389, 101]);
  assertEquals(of(336, 128), [389, 257]);
  assertEquals(of(416), [443, undefined], "448 places");
  assertEquals(of(446), undefined);
  assertEquals(of(undefined), undefined);
  assertEquals(of(150, 128), [193, 191], "fewer than all rows");
  assertEquals(of(120, 120), [131, 127]);
  assertEquals(of(120, 131), [131, 257], "as many as there are rows");
  assertEquals(of(undefined, 200, 257), [undefined, 263], "a prime that divides the length");
});

/** Templates of a tiny model, what was planned, and which of it was made open graphs of. */
function templatesOf(serves: (plan: TrainingPlan) => boolean) {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const made: PlanOptions[] = [];
  const admitted: PlanOptions[] = [];
  const templates = new PlanTemplates({
    make: (options) => {
      made.push(options);
      return planTraining(model, options);
    },
    admit: ({ options }) => admitted.push(options),
    serves,
  });
  const options: PlanOptions = { batch: 8, length: 40, trainable, passes: ["training"] };
  const planOf = (packedRows: number, targetRows: number, more: Partial<PlanOptions> = {}) =>
    templates.planOf({ ...options, packedRows, targetRows, ...more });
  return { planOf, made, admitted };
}

Deno.test("PlanTemplates plans once for all numbers of rows of a batch's sequences and length", () => {
  for (const keepBytes of [0, 1e9]) {
    const { planOf, made } = templatesOf(() => true);
    for (const rows of [200, 208, 104, 300]) {
      const { options } = planOf(rows, 160, { keepBytes })!;
      assertEquals([options.packedRows, options.targetRows], [rows, 160]);
    }
    assertEquals(made.length, 1);
    assert(made[0].packedRows! >= 300);
    planOf(200, 160, { keepBytes, length: 48 });
    planOf(200, 160, { keepBytes, arithmetic: arithmeticOf({ numeric: "fast" }) });
    assertEquals(made.length, 3);
  }
});

Deno.test("PlanTemplates plans once for a half octave of rows where more would have no room to keep all", () => {
  const { planOf, made, admitted } = templatesOf(() => true);
  const all = planOf(200, 160, { keepBytes: 1e9 })!.savedBytes;
  const keepBytes = Math.floor(all / 2);
  made.length = admitted.length = 0;
  for (const rows of [200, 208, 216, 250]) {
    assertEquals(planOf(rows, 160, { keepBytes })!.options.packedRows, rows);
  }
  const whole = made[0].packedRows!;
  assertEquals(made.map(({ packedRows }) => packedRows), [whole, 257]);
  assert(whole > 300, "all rows were tried, once");
  assertEquals(admitted.map(({ packedRows }) => packedRows), [257], "the one that keeps enough");
  // Nearly all places: the half octave's template is that of all rows.
  for (const rows of [300, 308]) {
    assertEquals(planOf(rows, 160, { keepBytes })!.options.packedRows, rows);
  }
  assertEquals(made.map(({ packedRows }) => packedRows), [whole, 257, whole]);
  planOf(150, 160, { keepBytes });
  assertEquals(made.length, 4);
});

Deno.test("PlanTemplates gives nothing that sessions do not serve, and does not try again", () => {
  const { planOf, made } = templatesOf(() => false);
  assertEquals(planOf(200, 160), undefined);
  assertEquals(planOf(208, 160), undefined);
  assertEquals(made.length, 1);
});

Deno.test("PlanTemplates gives nothing where only the template cannot be planned", () => {
  const templates = new PlanTemplates({
    make: () => {
      throw new RangeError("too many rows");
    },
    admit: () => {},
    serves: () => true,
  });
  const options = { batch: 8, length: 40, trainable: new Set<string>(), packedRows: 200 };
  assertEquals(templates.planOf(options), undefined);
});
