/** B3: training speed against the ceiling of the kernels in use. */
import { median } from "../../src/statistics.ts";
import { graft } from "../figures/children.ts";
import type { Workload } from "../figures/workloads.ts";
import type { Measured } from "./alternate.ts";
import { type KernelRate, type Layers, trainingCeiling } from "./ceiling.ts";
import type { Context } from "./context.ts";
import type { Setting } from "./graft_side.ts";
import { atLeast, type Goal, type ReportBody } from "./results.ts";

/** Forms whose speed is a setting's ceiling. */
const FORM: Readonly<Record<Setting, string>> = { exact: "fp32_gemm", fast: "u8s8" };

/** Steps whose tokens and targets stand for all. */
const SAMPLED_STEPS = 8;

/** The kernels' speeds at a workload's steps, measured once a round. */
export class Kernels {
  readonly #found = new Map<string, { readonly rate: KernelRate; readonly gflops: number[] }>();

  private constructor(
    readonly model: string,
    /** Real tokens of a step. */
    readonly tokens: number,
    readonly targetShare: number,
  ) {}

  static async for({ limit }: Context, work: Workload): Promise<Kernels> {
    const { stdout } = await graft(
      ...["bench", "train", "--json", "--model", work.model, "--data", work.data],
      ...["--batch-size", String(work.batch), "--target-modules", work.targets],
      ...["--steps", String(limit === undefined ? SAMPLED_STEPS : 1)],
    );
    const [{ tokens, targets, steps }] = JSON.parse(stdout).configurations;
    return new Kernels(work.model, Math.round(tokens / steps), targets / tokens);
  }

  async measure(): Promise<void> {
    const { stdout } = await graft(
      ...["bench", "kernels", "--json", "--refresh", "--model", this.model],
      ...["--tokens", String(this.tokens)],
    );
    for (const { form, rows, columns, gflops } of JSON.parse(stdout).kernels) {
      if (gflops === null) continue;
      const key = `${form} ${rows}x${columns}`;
      let entry = this.#found.get(key);
      if (entry === undefined) {
        this.#found.set(key, entry = { rate: { rows, columns, gflops }, gflops: [] });
      }
      entry.gflops.push(gflops);
    }
  }

  /** Medians of a form over the rounds, by shape. */
  rates(form: string): readonly KernelRate[] {
    return [...this.#found].filter(([key]) => key.startsWith(`${form} `))
      .map(([, { rate, gflops }]) => ({ ...rate, gflops: median(gflops) }));
  }
}

/** B3: what share of the kernels' ceiling training reaches. */
export async function ofCeiling(
  work: Workload,
  { graft: found, notes }: Measured,
  kernels: Kernels,
): Promise<ReportBody> {
  const inspected = JSON.parse(
    (await graft(
      ...["inspect", work.model, "--json", "--target-modules", work.targets, "--rank", "8"],
    )).stdout,
  );
  const layers = layersOf(inspected.targets);
  const step = {
    layers,
    attentionWidth: layers[0].rows,
    blocks: inspected.layers,
    length: kernels.tokens / work.batch,
    targetShare: kernels.targetShare,
    backwardShare: 1,
    adapterParameters: inspected.lora.trainableParameters,
  };
  const float = median(kernels.rates("fp32_gemm").map(({ gflops }) => gflops));
  const goals: Goal[] = [];
  const rows: Record<string, string | number>[] = [];
  for (const setting of ["fast", "exact"] as const) {
    const ours = found[setting];
    if (ours === undefined) continue;
    const rates = kernels.rates(FORM[setting]);
    const ceiling = trainingCeiling(step, rates, float);
    goals.push(atLeast(`${setting}, share of the ceiling`, ours.tokens_per_s / ceiling, 0.6));
    rows.push({
      setting,
      kernel: FORM[setting],
      "GFLOP/s": median(rates.map(({ gflops }) => gflops)),
      "ceiling tok/s": ceiling,
      "tok/s": ours.tokens_per_s,
      "tokens a step": kernels.tokens,
    });
  }
  return {
    about: `Tokens per second against the kernels' ceiling, ${work.targets}`,
    peers: [],
    goals,
    tables: [{ title: "Ceilings of the kernels in use, measured in the same run", rows }],
    notes,
  };
}

interface TargetGroup {
  readonly count: number;
  readonly head: boolean;
  readonly shapes: readonly (readonly [number, number])[];
}

/** Layers by shape, from what `graft inspect` prints. */
function layersOf(targets: readonly TargetGroup[]): readonly Layers[] {
  return targets.flatMap(({ count, head, shapes }) =>
    shapes.map(([rows, columns]) => ({ rows, columns, head, count: count / shapes.length }))
  );
}
