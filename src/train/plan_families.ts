/**
 * The plans of a model's batches: one for all batches at which the planner decides the same. Predictions of
 * memory and the steps themselves share them.
 */
import type { Model } from "../graph/types.ts";
import { bindPlan, type PlanOverSizes } from "../plan/bind_plan.ts";
import { kindOf, type PlanOptions } from "../plan/options.ts";
import { planOverSizes, type TrainingPlan } from "../plan/plan.ts";

/** Plans of a kind that are kept; later ones replace the least recently used. */
const PLANS_KEPT = 32;

/** Plans of one model and of the settings of one run, which {@linkcode kindOf} does not compare. */
export class PlanFamilies {
  readonly #model: Model;
  readonly #plan: typeof planOverSizes;
  /** By kind, least recently used first. */
  readonly #families = new Map<string, Family>();

  /** @param plan default {@linkcode planOverSizes} */
  constructor(model: Model, plan = planOverSizes) {
    this.#model = model;
    this.#plan = plan;
  }

  /** Number of plans held now. */
  get count(): number {
    return [...this.#families.values()].reduce((sum, { plans }) => sum + plans.length, 0);
  }

  /**
   * The plan of a batch. It follows from the options alone, whatever was planned before, so that a resumed
   * run computes the same.
   *
   * @throws whatever {@linkcode planOverSizes} throws
   */
  planOf(options: PlanOptions): TrainingPlan {
    const kind = kindOf(options);
    const family = this.#families.get(kind) ?? { options, plans: [] };
    this.#families.set(kind, family);
    const { plans } = family;
    for (const found of plans.toReversed()) {
      const plan = bindPlan(found, options);
      if (plan === undefined) continue;
      plans.push(...plans.splice(plans.indexOf(found), 1));
      return plan;
    }
    const made = this.#plan(this.#model, options);
    plans.push(made);
    if (plans.length > PLANS_KEPT) plans.shift();
    return bindPlan(made, options)!;
  }

  /** Drops the plans of all other kinds; sizes in the options given to `stays` are any of the kind. */
  keep(stays: (options: PlanOptions) => boolean): void {
    for (const [kind, { options }] of this.#families) {
      if (!stays(options)) this.#families.delete(kind);
    }
  }
}

/** The plans of a kind. */
interface Family {
  /** Those that its first plan was made with. */
  readonly options: PlanOptions;
  readonly plans: PlanOverSizes[];
}
