/** Every rule of the ONNX domain against ONNX Runtime and central differences. */
import { assertEquals } from "@std/assert";
import { STANDARD_RULES } from "../../src/ops/standard.ts";
import type { OpRule } from "../../src/ops/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { checkCase } from "../helpers/gradcheck.ts";
import { STANDARD_CASES } from "../helpers/op_cases/mod.ts";
import { sampled } from "../helpers/sampled.ts";

/** Operators whose cases are products of directions, activations and options. */
const RECURRENT = ["GRU", "LSTM", "RNN"];

for (const { opType } of STANDARD_RULES) {
  const all = STANDARD_CASES.filter((test) => test.opType === opType);
  const cases = RECURRENT.includes(opType) ? sampled(all) : all;
  if (cases.length === 0) continue;
  Deno.test(`${opType}: inference, folding, lowering and cotangents agree with ONNX Runtime`, async (t) => {
    using runner = createOrtRunner({ threads: 1, ortLib: Deno.env.get("GRAFT_ORT_LIB") });
    for (const test of cases) await t.step(test.title, () => checkCase(runner, test));
  });
}

/** Inlined before rules run; see tests/pure/ops_if_test.ts and tests/ort/ops_loops_test.ts. */
const WITHOUT_CASES = ["If", "Loop", "Scan"];
/** Lowered for its axes alone: it counts elements and nothing is trained through it. */
const WITHOUT_DERIVATIVE = ["ReduceProd"];

/** A rule without derivative that lowers does so to operators that have one. */
function needsDerivative(rule: OpRule): boolean {
  return rule.vjp !== undefined ||
    (rule.lower !== undefined && !WITHOUT_DERIVATIVE.includes(rule.opType));
}

Deno.test("every standard rule has a case, and every differentiable one a gradient case", () => {
  const tested = new Set(STANDARD_CASES.map((test) => test.opType));
  const differentiated = new Set(
    STANDARD_CASES.flatMap((test) =>
      test.wrt?.length === 0 ||
        !test.inputs.some((i) =>
          i !== undefined && !i.constant && (i.dtype ?? "float32") === "float32"
        )
        ? []
        : [test.opType]
    ),
  );
  const missing = STANDARD_RULES.filter((rule) =>
    !WITHOUT_CASES.includes(rule.opType) &&
    !(needsDerivative(rule) ? differentiated : tested).has(rule.opType)
  );
  assertEquals(missing.map((rule) => rule.opType), []);
});
