/** Runs the sides of a training workload in turn, round by round. */
import { type Workload, workload } from "../figures/workloads.ts";
import type { Context } from "./context.ts";
import { type Setting, trainGraft } from "./graft_side.ts";
import { type PeftType, type PeftTypes, trainPeft } from "./peft_side.ts";
import { medianResult, type TrainResult } from "./results.ts";

/** All rounds as one result, by side. */
export interface Measured {
  readonly graft: Readonly<Partial<Record<Setting, TrainResult>>>;
  readonly peft: Readonly<Partial<Record<PeftType, TrainResult>>>;
  /** graft's tokens a second, by round. */
  readonly speeds: Readonly<Partial<Record<Setting, readonly number[]>>>;
  readonly notes: readonly string[];
}

export interface Rounds {
  /** Called before and after each one's runs of graft, for what these are compared with. */
  readonly around?: (round: number) => Promise<void> | undefined;
  /** What those after the first train on: a short part of the data, for more speeds, or all of it. */
  readonly later: "short part" | "all with other seeds";
  /** What is to be known of an adapter that was trained on all data. */
  readonly judge?: (adapter: string) => Promise<Partial<TrainResult>>;
}

/**
 * Runs the sides alternately: on all data first. The first round's adapters stay in the context's
 * folder.
 */
export async function alternate(
  context: Context,
  work: Workload,
  settings: readonly Setting[],
  peft: PeftTypes,
  { around, later, judge }: Rounds,
): Promise<Measured> {
  const notes = [...peft.notes];
  const short = workload(context.shared, work.name, context.shortData);
  const workOf = (round: number): Workload => {
    if (round === 0) return work;
    if (later === "short part") return short;
    const seed = ["--seed", String(round)];
    return { ...work, graft: [...work.graft, ...seed], peft: [...work.peft, ...seed] };
  };
  type Run = (work: Workload, round: number) => Promise<TrainResult>;
  interface Side {
    readonly runs: TrainResult[];
    readonly run: Run;
  }
  const ours = new Map(settings.map((setting): [Setting, Side] => {
    const adapter = adapterOf(context, work, setting);
    const run: Run = async (work, round) => {
      const path = round === 0 ? adapter : `${adapter}-later`;
      const trained = await trainGraft(work, setting, path);
      return { ...trained, ...work === short ? {} : await judge?.(path) };
    };
    return [setting, { runs: [], run }];
  }));
  const theirs = new Map(peft.types.map((dtype): [PeftType, Side] => {
    const run: Run = (work) => trainPeft(context, work, dtype);
    return [dtype, { runs: [], run }];
  }));
  const runSides = async (sides: ReadonlyMap<string, Side>, round: number) => {
    for (const { runs, run } of sides.values()) {
      const found = await run(workOf(round), round);
      runs.push(found);
      console.error(
        `${work.name}, round ${round + 1}: ${found.peer} ${found.dtype} ` +
          `${found.tokens_per_s.toFixed(1)} tok/s, ${Math.round(found.peak_rss_mb)} MB` +
          (found.accuracy === undefined ? "" : `, accuracy ${found.accuracy.toFixed(4)}`),
      );
    }
  };
  for (let round = 0; round < context.rounds; round++) {
    await around?.(round);
    await runSides(ours, round);
    await around?.(round);
    await runSides(theirs, round);
  }
  if (ours.get("fast")?.runs.some(({ dtype }) => dtype !== "fast")) {
    notes.push("the setting fast: graft found its gradient too far from exact's and went back");
  }
  const ofEach = <K extends string, T>(
    sides: ReadonlyMap<K, Side>,
    of: (runs: readonly TrainResult[]) => T,
  ) => Object.fromEntries([...sides].map(([key, { runs }]) => [key, of(runs)])) as Record<K, T>;
  return {
    graft: ofEach(ours, medianResult),
    peft: ofEach(theirs, medianResult),
    speeds: ofEach(ours, (runs) => runs.map((run) => run.tokens_per_s)),
    notes,
  };
}

/** Where the adapter of a side lies. */
export function adapterOf({ folder }: Context, { name }: Workload, setting: Setting): string {
  return `${folder}/${name}-${setting}`;
}
