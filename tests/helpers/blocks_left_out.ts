/** Plans that leave out alike blocks, beside plans that do not. */
import { assert, assertEquals } from "@std/assert";
import { Parameter } from "../../src/graph/parameter.ts";
import type { Model } from "../../src/graph/types.ts";
import { foldedBlocks } from "../../src/plan/alike_blocks.ts";
import { trainingSource } from "../../src/plan/lower.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { type ArithmeticWords, withArithmetic } from "./arithmetic.ts";
import { planText } from "./plan_text.ts";

/** Blocks that a plan has left out, where it is the plan that looking at all of them gives. */
export function blocksLeftOut(model: Model, how: PlanOptions & ArithmeticWords): number {
  const options = withArithmetic(how);
  const plan = planTraining(model, options);
  for (const [name, value] of plan.constants) assert(!(value instanceof Parameter), name);
  const passControl = { without: new Set(["fold-blocks"]) };
  const whole = planTraining(model, { ...options, passControl });
  assertEquals(planText(model, plan), planText(model, whole));
  const source = trainingSource(model.graph, [options.output ?? "logits"]);
  const folded = foldedBlocks(source, options.trainable);
  return folded === undefined ? 0 : folded.count - 3;
}
