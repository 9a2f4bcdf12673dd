/** Plans that leave out alike blocks, beside plans that do not. */
import { assertEquals } from "@std/assert";
import type { Model } from "../../src/graph/types.ts";
import { foldingsOf } from "../../src/plan/alike_blocks.ts";
import { trainingSource } from "../../src/plan/lower.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { type ArithmeticWords, withArithmetic } from "./arithmetic.ts";
import { planText } from "./plan_text.ts";

/** Blocks that a plan has left out, where it is the plan that looking at all of them gives. */
export function blocksLeftOut(model: Model, how: PlanOptions & ArithmeticWords): number {
  const options = withArithmetic(how);
  const plan = planTraining(model, options);
  const passControl = { without: new Set(["fold-blocks"]) };
  const whole = planTraining(model, { ...options, passControl });
  assertEquals(planText(model, plan), planText(model, whole));
  const source = trainingSource(model.graph, [options.output ?? "logits"]);
  const { current } = foldingsOf(source, options.trainable);
  return current === undefined ? 0 : current.count - 3;
}
