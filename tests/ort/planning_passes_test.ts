import { assert, assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { verify } from "../../src/graph/verify.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { textOf } from "../../src/plan/share_graphs.ts";
import type { PassResult } from "../../src/plan/planning_pass.ts";
import { PLANNING_PASSES } from "../../src/plan/planning_passes.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { passControlHere } from "../../src/train/left_out_passes.ts";
import { type ArithmeticWords, withArithmetic } from "../helpers/arithmetic.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import { sampled } from "../helpers/sampled.ts";
import {
  adapted,
  assertSame,
  batchOf,
  gradientDistance,
  gradientsOf,
  rowsOf,
  STEP_MODELS,
  type StepHow,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

const OPTIONAL = PLANNING_PASSES.filter(({ isOptional }) => isOptional).map(({ name }) => name);
const MODELS = Object.keys(STEP_MODELS) as StepModelName[];

/** Ways of planning in which all passes have something to do in one model or another. */
const CONFIGURATIONS: Readonly<Record<string, Partial<PlanOptions> & ArithmeticWords>> = {
  "recomputing": {},
  "keeping": { keepBytes: 1e9, dropout: 0.2 },
  "with unpacked weights": { readyWeights: true, dequantForm: "arithmetic" },
  "fast": { numeric: "fast", keepBytes: 1e9, inTiles: true, sharesWeights: true },
  "sliced": { sliced: true, integerForm: "s8s8" },
};

function optionsOf(name: StepModelName, trainable: ReadonlySet<string>): PlanOptions {
  const targets = STEP_MODELS[name] === "causal" ? { targetRows: 96 } : {};
  return { batch: 4, length: 48, packedRows: 128, headChunk: 100, trainable, ...targets };
}

for (const name of MODELS) {
  for (const [how, configuration] of Object.entries(CONFIGURATIONS)) {
    Deno.test(`planTraining() makes a sound graph in each of its passes, ${name}, ${how}`, () => {
      const { dropout = 0 } = configuration;
      const { model, trainable } = adapted(readModel(modelDir(name)), {
        targetModules: ["all-linear"],
        dropout,
      });
      /** Calls that make weights have theirs while the model's graph is under way. */
      const [seen, seenOfCalls] = [new Set<string>(), new Set<string>()];
      const onPass = ({ pass, graph, given, label }: PassResult) => {
        (label === undefined ? seen : seenOfCalls).add(pass);
        verify(graph, pass, given);
      };
      planTraining(model, {
        ...optionsOf(name, trainable),
        ...withArithmetic(configuration),
        passControl: { onPass },
      });
      const overGraphs = PLANNING_PASSES.filter(({ over }) => over !== "the step's calls");
      assertEquals([...seen, ...seenOfCalls], overGraphs.map((pass) => pass.name));
    });
  }
}

Deno.test("planTraining() does not apply a pass that is left out", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  for (const left of OPTIONAL) {
    const seen = new Set<string>();
    planTraining(model, {
      ...optionsOf("tiny-llama-genai-int4", trainable),
      passControl: { without: new Set([left]), onPass: ({ pass }) => seen.add(pass) },
    });
    assert(!seen.has(left), left);
  }
});

Deno.test("planTraining() shares neither graphs nor weights where that is left out", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const callsWithout = (...without: string[]) =>
    planTraining(model, {
      ...optionsOf("tiny-llama-genai-int4", trainable),
      ...{ sharesWeights: true, passControl: { without: new Set(without) } },
    }).training.calls;
  const counts = (calls: ReturnType<typeof callsWithout>) => ({
    texts: new Set(calls.map(textOf)).size,
    graphs: new Set(calls.map(({ graph }) => graph)).size,
    shared: calls.filter(({ isShared }) => isShared).length,
  });
  assert(counts(callsWithout()).shared > 0);
  const unshared = counts(callsWithout("share-weights"));
  assertEquals([unshared.shared, unshared.graphs], [0, unshared.texts]);
  const apart = counts(callsWithout("share-graphs", "share-weights"));
  assert(apart.graphs > apart.texts);
});

/** A step's gradients with a pass left out, or with all of them. */
async function gradientsWithout(
  pass: string | undefined,
  name: StepModelName,
  how: StepHow,
) {
  using runner = createOrtRunner({ spinning: false });
  const without = new Set(pass === undefined ? [] : [pass]);
  using step = stepOn(runner, name, { headChunk: 100, ...how, passControl: { without } });
  const rows = rowsOf([40, 17, 23, 31, 40, 9]);
  return await gradientsOf(step, [batchOf(rows, 40, STEP_MODELS[name])]);
}

const WHOLE = { keepBytes: 1e9, kept: "whole" } as const;
const UNPACKED = { ...WHOLE, readyWeights: true, dequantForm: "arithmetic" } as const;

for (
  const [how, names, options] of [
    ["recomputing", MODELS, {}],
    ["with unpacked weights, all kept", ["tiny-llama-genai-int4"], UNPACKED],
    ["in four parts", ["tiny-llama-genai-int4"], { ...WHOLE, shards: 4 }],
  ] as const
) {
  for (const [i, name] of names.entries()) {
    Deno.test(`GRAFT_PASSES leaves the gradient as it is whatever is left out, ${name}, ${how}`, async () => {
      const expected = await gradientsWithout(undefined, name, options);
      for (const pass of sampled(OPTIONAL, i)) {
        assertSame(await gradientsWithout(pass, name, options), expected, 2e-5);
      }
    });
  }
}

/** The passes of `fast` alone, with what rounding at another place does to the gradient of tiny models. */
const OF_FAST = { "keep-slopes": 0.1, "defer-row-scales": 0.1, "column-tiles": 1e-6 };

for (const name of ["tiny-llama-genai-int4", "tiny-bert-dynamic-int8"] as const) {
  Deno.test(`GRAFT_PASSES leaves the gradient of fast within its rounding, ${name}`, async () => {
    const fast = { ...WHOLE, numeric: "fast", integerForm: RIGHT_FORMS[0] } as const;
    const expected = await gradientsWithout(undefined, name, fast);
    for (const [pass, most] of Object.entries(OF_FAST)) {
      const { error } = gradientDistance(await gradientsWithout(pass, name, fast), expected);
      assert(error <= most, `${pass}: ${error}`);
    }
  });
}

Deno.test("passControlHere() reads GRAFT_PASSES", () => {
  const before = Deno.env.get("GRAFT_PASSES");
  try {
    Deno.env.delete("GRAFT_PASSES");
    assertEquals([...passControlHere().without!], []);
    Deno.env.set("GRAFT_PASSES", "-join-gates,-pack-tokens");
    assertEquals([...passControlHere().without!], ["join-gates", "pack-tokens"]);
    Deno.env.set("GRAFT_PASSES", "-gates");
    assertThrows(passControlHere, BadInputError, "-join-gates");
  } finally {
    if (before === undefined) Deno.env.delete("GRAFT_PASSES");
    else Deno.env.set("GRAFT_PASSES", before);
  }
});
