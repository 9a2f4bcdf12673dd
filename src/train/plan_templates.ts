/** Plans of batch shapes, made from few that are planned for real. */
import { keyOf, type PlanOptions } from "../plan/options.ts";
import type { TrainingPlan } from "../plan/plan.ts";
import {
  resizePlan,
  TEMPLATE_SPANS,
  templateRows,
  type TemplateSpan,
} from "../plan/resize_plan.ts";

/** Templates that stay; later ones take the place of those used longest ago. */
const TEMPLATES_KEPT = 8;

export interface TemplateMeans {
  /** Plans a shape. */
  readonly make: (options: PlanOptions) => TrainingPlan;
  /** Makes open graphs of a template's calls. */
  readonly admit: (template: TrainingPlan) => void;
  /** Whether open graphs compute a plan. */
  readonly serves: (plan: TrainingPlan) => boolean;
}

export class PlanTemplates {
  readonly #means: TemplateMeans;
  /** Least recently used first; `undefined` where what came of one was not served. */
  readonly #templates = new Map<string, TrainingPlan | undefined>();
  /** Keys of templates for all numbers of rows that keep less than fewer rows would. */
  readonly #tooLarge = new Set<string>();

  constructor(means: TemplateMeans) {
    this.#means = means;
  }

  /**
   * The plan of a shape, from the template of all that have its sequences and length; where that would
   * have room to keep a part alone, from that of all with about as many rows too. Which one follows
   * from the options alone, so that a run that is resumed computes the same.
   *
   * @returns `undefined` where no template gives it
   */
  planOf(options: PlanOptions): TrainingPlan | undefined {
    // The rows of a span follow from its length.
    if (options.span !== undefined) return undefined;
    for (const span of TEMPLATE_SPANS) {
      const rows = templateRows(options, span);
      if (rows === undefined) continue;
      const prime = { ...options, ...rows };
      const key = keyOf(prime);
      if (span === "any" && this.#tooLarge.has(key)) continue;
      const template = this.#templates.has(key)
        ? this.#templates.get(key)
        : this.#made(prime, span);
      if (template === "too large") {
        this.#tooLarge.add(key);
        continue;
      }
      const plan = template && resizePlan(template, options);
      const served = plan !== undefined && this.#means.serves(plan);
      this.#put(key, served ? template : undefined);
      return served ? plan : undefined;
    }
  }

  /** Drops all templates. */
  clear(): void {
    this.#templates.clear();
  }

  #put(key: string, template: TrainingPlan | undefined): void {
    this.#templates.delete(key);
    this.#templates.set(key, template);
    if (this.#templates.size > TEMPLATES_KEPT) {
      const [oldest] = this.#templates.keys();
      this.#templates.delete(oldest);
    }
  }

  #made(options: PlanOptions, span: TemplateSpan): TrainingPlan | "too large" | undefined {
    try {
      const template = this.#means.make(options);
      if (span === "any" && template.keepsSome) return "too large";
      this.#means.admit(template);
      return template;
    } catch {
      return undefined; // planned for real, it says so itself
    }
  }
}
