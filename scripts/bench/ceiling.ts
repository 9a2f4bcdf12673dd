/**
 * B3: training speed against the most that the kernels in use allow.
 *
 * The ceiling is a step that does nothing but its matrix products, each at the speed that its kernel
 * has on that very shape, measured in the same run, for every token of the data. A second bound adds
 * one pass over memory for all that the plan computes beside them. Both are also there for what
 * training does compute of the tokens: what sequences begin with once.
 */
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { mean, median } from "../../src/statistics.ts";
import type { Workload } from "../figures/workloads.ts";
import type { Setting } from "./graft_side.ts";
import type { ReportTable } from "./results.ts";
import { flopsOf } from "./step_work.ts";
import { timeWork, type WorkTimes } from "./time_work.ts";
import { COMPUTED, type Computed, type WorkloadSteps, workloadSteps } from "./workload_steps.ts";

/** What the kernels allow a setting, medians of the rounds. */
export interface Bounds {
  readonly setting: Setting;
  readonly computed: Computed;
  /** Rows that are computed for the tokens. */
  readonly rows: number;
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
  readonly #times: readonly {
    readonly setting: Setting;
    readonly computed: Computed;
    readonly taken: (WorkTimes & { readonly round: number })[];
  }[];

  private constructor(readonly steps: WorkloadSteps, settings: readonly Setting[]) {
    this.#times = settings.flatMap((setting) =>
      COMPUTED.map((computed) => ({ setting, computed, taken: [] }))
    );
  }

  static async of(work: Workload, settings: readonly Setting[]): Promise<Ceiling> {
    using runner = createOrtRunner();
    return new Ceiling(await workloadSteps(runner, work), settings);
  }

  /** Measures once more, in a round of those by which training is timed. */
  async measure(round: number): Promise<void> {
    using runner = createOrtRunner();
    for (const { setting, computed, taken } of this.#times) {
      taken.push({ round, ...await timeWork(runner, this.steps.work[setting][computed]) });
    }
  }

  /**
   * What share of the ceiling of BENCHMARKS.md, which computes every token, training reaches. A shared
   * machine's speed changes from minute to minute: each round's training is compared with what was
   * measured right before and after it.
   *
   * @param speeds tokens a second, by round
   */
  share(setting: Setting, speeds: readonly number[]): number {
    const { taken } = this.#times.find((one) =>
      one.setting === setting && one.computed === "every token"
    )!;
    return median(speeds.map((speed, round) => {
      const times = taken.filter((one) => one.round === round).map(({ products }) => products);
      return speed * mean(times) / this.steps.tokens;
    }));
  }

  bounds(): readonly Bounds[] {
    const { tokens, rows, work } = this.steps;
    return this.#times.map(({ setting, computed, taken }) => {
      const seconds = {
        products: median(taken.map(({ products }) => products)),
        passes: median(taken.map(({ passes }) => passes)),
      };
      return {
        setting,
        computed,
        rows: rows[computed],
        products: tokens / seconds.products,
        withPasses: tokens / (seconds.products + seconds.passes),
        seconds,
        gflop: flopsOf(work[setting][computed]) / 1e9,
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
  const allowed = bounds.map((bound) => {
    const { setting, computed, rows, products, withPasses, seconds, gflop, tokens } = bound;
    return {
      setting,
      computed,
      "tokens a step": tokens,
      rows,
      "products, ms": 1000 * seconds.products,
      "GFLOP/s": gflop / seconds.products,
      "ceiling, tok/s": products,
      "passes, ms": 1000 * seconds.passes,
      "with passes, tok/s": withPasses,
      ...(reached[setting] === undefined ? {} : { "reached, tok/s": reached[setting] }),
    };
  });
  return [
    {
      title: "The median step's matrix products, each timed alone on its own shape, and one pass " +
        "over memory for every other operator; nothing computed twice, nothing in tiles, whose " +
        "passes find much of it in a cache",
      rows: allowed,
    },
    {
      title: "Goals beside what the kernels allow",
      rows: wanted.map(({ setting, what, tokensPerSecond }) => ({
        setting,
        goal: what,
        "needs, tok/s": tokensPerSecond,
        "on this machine": verdict(
          bounds.find((one) => one.setting === setting && one.computed === "as trained")!,
          tokensPerSecond,
          reached[setting],
        ),
      })),
    },
  ];
}

/**
 * Whether the kernels allow a speed, in a sentence. One that was reached they do, whatever a pass over
 * memory took where nothing was in a cache.
 */
export function verdict(
  { products, withPasses }: Pick<Bounds, "products" | "withPasses">,
  needed: number,
  reached = 0,
): string {
  const [needs, most, likely] = [needed, products, withPasses].map(Math.round);
  if (reached >= needed) return `reached: needs ${needs} tok/s, is ${Math.round(reached)}`;
  if (needed > products) {
    return `out of reach: needs ${needs} tok/s; the products alone allow ${most}`;
  }
  if (needed > withPasses) {
    return `not with this plan: needs ${needs} tok/s; products and its passes over memory allow ${likely}`;
  }
  return `the kernels allow it: ${likely} tok/s with passes over memory`;
}
