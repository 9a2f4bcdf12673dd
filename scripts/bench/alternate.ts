/** Runs the sides of a training workload in turn, round by round. */
import { type Workload, workload } from "../figures/workloads.ts";
import type { Context } from "./context.ts";
import { type Setting, trainGraft } from "./graft_side.ts";
import { type PeftType, type PeftTypes, trainPeft } from "./peft_side.ts";
import { medianResult, type TrainResult } from "./results.ts";

/** Medians of all rounds, by side. */
export interface Measured {
  readonly graft: Readonly<Partial<Record<Setting, TrainResult>>>;
  readonly peft: Readonly<Partial<Record<PeftType, TrainResult>>>;
  readonly notes: readonly string[];
}

/**
 * Runs the sides alternately: once on all data, then on its short part for more speeds. The first
 * round's adapters stay in the context's folder.
 *
 * @param before called at the start of each round, for what must be measured in the same hour
 */
export async function alternate(
  context: Context,
  work: Workload,
  settings: readonly Setting[],
  peft: PeftTypes,
  before: () => Promise<void> | undefined = () => undefined,
): Promise<Measured> {
  const notes = [...peft.notes];
  const short = workload(context.shared, work.name, context.shortData);
  type Run = (work: Workload, first: boolean) => Promise<TrainResult>;
  const sides: { readonly runs: TrainResult[]; readonly run: Run }[] = [];
  const add = (run: Run) => {
    const runs: TrainResult[] = [];
    sides.push({ runs, run });
    return runs;
  };
  const graftRuns = new Map<Setting, TrainResult[]>();
  for (const setting of settings) {
    const adapter = adapterOf(context, work, setting);
    const run: Run = (work, first) =>
      trainGraft(work, setting, first ? adapter : `${adapter}-short`);
    graftRuns.set(setting, add(run));
  }
  const peftRuns = new Map<PeftType, TrainResult[]>();
  for (const dtype of peft.types) {
    peftRuns.set(
      dtype,
      add((work) => trainPeft(context, work, dtype)),
    );
  }
  for (let round = 0; round < context.rounds; round++) {
    await before();
    for (const { runs, run } of sides) {
      const found = await run(round === 0 ? work : short, round === 0);
      runs.push(found);
      console.error(
        `${work.name}, round ${round + 1}: ${found.peer} ${found.dtype} ` +
          `${found.tokens_per_s.toFixed(1)} tok/s, ${Math.round(found.peak_rss_mb)} MB`,
      );
    }
  }
  if (graftRuns.get("fast")?.some(({ dtype }) => dtype !== "fast")) {
    notes.push("the setting fast: graft found its gradient too far from exact's and went back");
  }
  const medians = <K extends string>(runs: ReadonlyMap<K, TrainResult[]>) =>
    Object.fromEntries([...runs].map(([key, all]) => [key, medianResult(all)])) as Partial<
      Record<K, TrainResult>
    >;
  return { graft: medians(graftRuns), peft: medians(peftRuns), notes };
}

/** Where the adapter of a side lies. */
export function adapterOf({ folder }: Context, { name }: Workload, setting: Setting): string {
  return `${folder}/${name}-${setting}`;
}
