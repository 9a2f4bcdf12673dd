/**
 * B3: training speed against the most that the kernels in use allow.
 *
 * The ceiling is a step that does nothing but its matrix products, each at the speed that its kernel
 * has on that very shape, measured in the same run. A second bound adds one pass over memory for all
 * that the plan computes beside them.
 */
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { median } from "../../src/statistics.ts";
import type { Workload } from "../figures/workloads.ts";
import type { Setting } from "./graft_side.ts";
import type { ReportTable } from "./results.ts";
import { flopsOf } from "./step_work.ts";
import { timeWork, type WorkTimes } from "./time_work.ts";
import { type WorkloadSteps, workloadSteps } from "./workload_steps.ts";

/** What the kernels allow a setting, medians of the rounds. */
export interface Bounds {
  readonly setting: Setting;
  /** Tokens a second if a step were its products alone. */
  readonly products: number;
  /** The same with the passes over memory. */
  readonly withPasses: number;
  /** Seconds of a step. */
  readonly seconds: WorkTimes;
  /** GFLOP a step. */
  readonly gflop: number;
  readonly tokens: number;
}

/** The kernels' times for a workload's step. */
export class Ceiling {
  readonly #times: ReadonlyMap<Setting, WorkTimes[]>;

  private constructor(readonly steps: WorkloadSteps, settings: readonly Setting[]) {
    this.#times = new Map(settings.map((setting) => [setting, []]));
  }

  static async of(work: Workload, settings: readonly Setting[]): Promise<Ceiling> {
    using runner = createOrtRunner();
    return new Ceiling(await workloadSteps(runner, work), settings);
  }

  /** Measures once more. */
  async measure(): Promise<void> {
    using runner = createOrtRunner();
    for (const [setting, times] of this.#times) {
      times.push(await timeWork(runner, this.steps.work[setting]));
    }
  }

  bounds(): readonly Bounds[] {
    const { tokens, work } = this.steps;
    return [...this.#times].map(([setting, times]) => {
      const seconds = {
        products: median(times.map(({ products }) => products)),
        passes: median(times.map(({ passes }) => passes)),
      };
      return {
        setting,
        products: tokens / seconds.products,
        withPasses: tokens / (seconds.products + seconds.passes),
        seconds,
        gflop: flopsOf(work[setting]) / 1e9,
        tokens,
      };
    });
  }
}

/** A speed that is asked for. */
export interface Wanted {
  readonly setting: Setting;
  readonly what: string;
  readonly tokensPerSecond: number;
}

/** What the kernels allow, beside what was reached, and which goals lie beyond that. */
export function ceilingTables(
  bounds: readonly Bounds[],
  reached: Readonly<Partial<Record<Setting, number>>>,
  wanted: readonly Wanted[],
): readonly ReportTable[] {
  const allowed = bounds.map(({ setting, products, withPasses, seconds, gflop, tokens }) => ({
    setting,
    "tokens a step": tokens,
    "products, ms": 1000 * seconds.products,
    "GFLOP/s": gflop / seconds.products,
    "ceiling, tok/s": products,
    "passes, ms": 1000 * seconds.passes,
    "with passes, tok/s": withPasses,
    ...(reached[setting] === undefined ? {} : { "reached, tok/s": reached[setting] }),
  }));
  return [
    {
      title: "The median step's matrix products, each timed alone on its own shape, and one pass " +
        "over memory for every other operator; nothing computed twice",
      rows: allowed,
    },
    {
      title: "Goals beside what the kernels allow",
      rows: wanted.map(({ setting, what, tokensPerSecond }) => ({
        setting,
        goal: what,
        "needs, tok/s": tokensPerSecond,
        "on this machine": verdict(
          bounds.find((one) => one.setting === setting)!,
          tokensPerSecond,
        ),
      })),
    },
  ];
}

/** Whether the kernels allow a speed, in a sentence. */
export function verdict({ products, withPasses }: Bounds, needed: number): string {
  const [needs, most, likely] = [needed, products, withPasses].map(Math.round);
  if (needed > products) {
    return `out of reach: needs ${needs} tok/s; the products alone allow ${most}`;
  }
  if (needed > withPasses) {
    return `not with this plan: needs ${needs} tok/s; products and its passes over memory allow ${likely}`;
  }
  return `the kernels allow it: ${likely} tok/s with passes over memory`;
}
