/** The plans of a model's batches: one for all batches at which the planner decides the same. */
import type { Model } from "../graph/types.ts";
import { bindPlan, type PlanOverSizes } from "../plan/bind_plan.ts";
import { kindOf, type PlanOptions } from "../plan/options.ts";
import { planOverSizes, type TrainingPlan } from "../plan/plan.ts";

/** Plans of a kind that are kept; later ones replace the least recently used. */
const PLANS_KEPT = 32;

export class PlanFamilies {
  readonly #model: Model;
  readonly #plan: typeof planOverSizes;
  /** By kind, least recently used first. */
  readonly #families = new Map<string, PlanOverSizes[]>();

  /** @param plan default {@linkcode planOverSizes} */
  constructor(model: Model, plan = planOverSizes) {
    this.#model = model;
    this.#plan = plan;
  }

  /** Number of plans held now. */
  get count(): number {
    return [...this.#families.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /**
   * The plan of a batch. It follows from the options alone, whatever was planned before, so that a resumed
   * run computes the same.
   *
   * @throws whatever {@linkcode planOverSizes} throws
   */
  planOf(options: PlanOptions): TrainingPlan {
    const kind = kindOf(options);
    const families = this.#families.get(kind) ?? [];
    this.#families.set(kind, families);
    for (const family of families.toReversed()) {
      const plan = bindPlan(family, options);
      if (plan === undefined) continue;
      families.push(...families.splice(families.indexOf(family), 1));
      return plan;
    }
    const family = this.#plan(this.#model, options);
    families.push(family);
    if (families.length > PLANS_KEPT) families.shift();
    return bindPlan(family, options)!;
  }

  /** Drops all plans. */
  clear(): void {
    this.#families.clear();
  }
}
