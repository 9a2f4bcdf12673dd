/** B1 to B5: training beside PEFT. */
import { type Workload, workload } from "../figures/workloads.ts";
import { adapterOf, alternate, type Measured } from "./alternate.ts";
import { Ceiling, ceilingTables, type Wanted } from "./ceiling.ts";
import type { Context } from "./context.ts";
import { heldOutAccuracy, heldOutLoss, mergeGraft, type Setting } from "./graft_side.ts";
import { PEFT_TYPES, peftTypes } from "./peft_side.ts";
import {
  atLeast,
  atMost,
  type Goal,
  type Report,
  type ReportBody,
  type TrainResult,
} from "./results.ts";

/** What is asked of graft on one set of targets. */
interface Targets {
  readonly name: string;
  readonly workload: string;
  /** Times PEFT's better type, by setting. */
  readonly speed: Readonly<Record<Setting, number>>;
}

const TARGETS: readonly Targets[] = [
  { name: "q,v", workload: "e2e.qv", speed: { fast: 3, exact: 1.6 } },
  { name: "all seven", workload: "e2e.all", speed: { fast: 2.2, exact: 1.4 } },
];

/** What B1 to B4 adapt, each a workload of its own. */
export const ADAPTERS: readonly string[] = TARGETS.map(({ workload }) => workload);

/**
 * B1 to B4, on both sets of targets: one set of runs serves all that are wanted.
 *
 * @param wanted names of the workloads: B1, B2, B3, B4
 * @param adapters those of {@linkcode ADAPTERS} that are wanted
 */
export async function* languageModel(
  context: Context,
  wanted: ReadonlySet<string>,
  adapters: ReadonlySet<string>,
): AsyncGenerator<Report> {
  const settings: Setting[] = [];
  if (["B1", "B3", "B4"].some((name) => wanted.has(name))) settings.push("fast");
  if (["B2", "B3"].some((name) => wanted.has(name))) settings.push("exact");
  const compared = wanted.has("B1") || wanted.has("B2");
  const types = compared ? PEFT_TYPES : wanted.has("B4") ? ["float32" as const] : [];
  const peft = await peftTypes(context, TARGETS[0].workload, types);
  for (const targets of TARGETS) {
    if (!adapters.has(targets.workload)) continue;
    if (!compared && !wanted.has("B3") && targets.name !== "q,v") continue;
    const work = workload(context.shared, targets.workload, context.data);
    const ceiling = wanted.has("B3") ? await Ceiling.of(work, settings) : undefined;
    const measured = await alternate(context, work, settings, peft, {
      around: (round) => ceiling?.measure(round),
      later: "short part",
    });
    const common = { measured_at: new Date().toISOString(), rounds: context.rounds };
    if (compared) {
      const before = await heldOutLoss(work);
      for (const [name, setting] of [["B1", "fast"], ["B2", "exact"]] as const) {
        if (!wanted.has(name)) continue;
        const report = await besidePeft(context, work, targets, setting, measured, before);
        yield { ...common, workload: `${name} ${targets.name}`, ...report };
      }
    }
    if (ceiling !== undefined) {
      const report = besideKernels(targets, measured, ceiling);
      yield { ...common, workload: `B3 ${targets.name}`, ...report };
    }
    if (wanted.has("B4") && targets.name === "q,v") {
      yield { ...common, workload: "B4", ...memory(measured) };
    }
  }
}

async function besidePeft(
  context: Context,
  work: Workload,
  targets: Targets,
  setting: Setting,
  measured: Measured,
  before: number,
): Promise<ReportBody> {
  const trained = measured.graft[setting];
  const loss = trained && await heldOutLoss(work, adapterOf(context, work, setting));
  const ours = trained && { ...trained, valid_loss_before: before, valid_loss: loss };
  const peers = Object.values(measured.peft);
  const better = betterOf(measured);
  const goals: Goal[] = [];
  if (ours !== undefined && better !== undefined) {
    const times = ours.tokens_per_s / better.tokens_per_s;
    goals.push(atLeast(`tok/s, times PEFT ${better.dtype}`, times, targets.speed[setting]));
    const theirs = measured.peft.float32!.valid_loss!;
    const apart = Math.abs(ours.valid_loss! / theirs - 1);
    goals.push(atMost("validation loss, relative distance to PEFT float32", apart, 0.01));
    const memory = ours.peak_rss_mb / measured.peft.float32!.peak_rss_mb;
    goals.push(atMost("peak memory, times PEFT float32", memory, setting === "fast" ? 0.18 : 0.6));
  }
  return {
    about: `LoRA r8 on ${targets.name}, SmolLM2-135M int4, e2e, batch 8, setting ${setting}`,
    graft: ours,
    peers,
    goals,
    tables: [],
    notes: measured.notes,
  };
}

/** PEFT in the type in which it is faster here. */
function betterOf({ peft }: Measured): TrainResult | undefined {
  return Object.values(peft).toSorted((a, b) => b.tokens_per_s - a.tokens_per_s)[0];
}

/** Share of the kernels' ceiling that is asked for. */
const SHARE_OF_CEILING = 0.6;

/** B3: what share of the kernels' ceiling training reaches, and whether the goals lie below it. */
function besideKernels({ name, speed }: Targets, measured: Measured, ceiling: Ceiling): ReportBody {
  const { graft: found, speeds, notes } = measured;
  const better = betterOf(measured);
  const bounds = ceiling.bounds();
  // The ceiling of BENCHMARKS.md computes every token.
  const ceilings = bounds.filter(({ computed }) => computed === "every token");
  const shares = ceilings.map(({ setting }) => ({
    setting,
    share: ceiling.share(setting, speeds[setting]!),
    speed: found[setting]!.tokens_per_s,
  }));
  const wanted = shares.flatMap(({ setting, share, speed: ours }): Wanted[] => [
    ...(better === undefined ? [] : [{
      setting,
      what: `${speed[setting]} times PEFT ${better.dtype}`,
      tokensPerSecond: speed[setting] * better.tokens_per_s,
    }]),
    {
      setting,
      what: `${SHARE_OF_CEILING} of the ceiling`,
      // By the share, which is of ceilings of the same minutes; medians may be of different rounds.
      tokensPerSecond: SHARE_OF_CEILING / share * ours,
    },
  ]);
  const reached = Object.fromEntries(shares.map(({ setting, speed }) => [setting, speed]));
  return {
    about: `Tokens per second against the ceiling of the kernels in use, ${name}`,
    peers: [],
    goals: shares.map(({ setting, share }) =>
      atLeast(`${setting}, share of the ceiling`, share, SHARE_OF_CEILING)
    ),
    tables: ceilingTables(bounds, reached, wanted),
    notes,
  };
}

function memory({ graft: { fast }, peft: { float32 }, notes }: Measured): ReportBody {
  const goals = fast === undefined || float32 === undefined
    ? []
    : [atMost("peak memory, times PEFT float32", fast.peak_rss_mb / float32.peak_rss_mb, 0.18)];
  const peers = float32 === undefined ? [] : [float32];
  return {
    about: "Peak resident memory of B1 over the process tree",
    graft: fast,
    peers,
    goals,
    tables: [],
    notes,
  };
}

/** What is asked of an encoder's training, by setting: speed and memory, times PEFT's. */
const CLASSIFIER_GOALS = [
  { setting: "fast", speed: 3, memory: 0.35 },
  { setting: "exact", speed: 1, memory: 0.6 },
] as const;

/**
 * B5: an encoder with a new head, and what merging it keeps. A seed moves an accuracy by as much as
 * the goal allows: every round has its own.
 */
export async function* classifier(context: Context): AsyncGenerator<Report> {
  const work = workload(context.shared, "banking77", context.data);
  const settings = CLASSIFIER_GOALS.map(({ setting }) => setting);
  const ceiling = await Ceiling.of(work, settings);
  const peft = await peftTypes(context, work.name, ["float32"]);
  const merged = `${context.folder}/banking77-merged`;
  const measured = await alternate(context, work, settings, peft, {
    around: (round) => ceiling.measure(round),
    later: "all with other seeds",
    judge: async (adapter) => {
      await mergeGraft(work.model, adapter, merged);
      return {
        accuracy: await heldOutAccuracy(work.model, work, adapter),
        merged_accuracy: await heldOutAccuracy(merged, work),
      };
    },
  });
  const theirs = measured.peft.float32;
  const bounds = ceiling.bounds();
  for (const { setting, speed, memory } of CLASSIFIER_GOALS) {
    const ours = measured.graft[setting]!;
    const points = (accuracy: number | undefined) => 100 * (accuracy! - theirs!.accuracy!);
    const goals = theirs === undefined ? [] : [
      atLeast("tok/s, times PEFT float32", ours.tokens_per_s / theirs.tokens_per_s, speed),
      atMost("peak memory, times PEFT float32", ours.peak_rss_mb / theirs.peak_rss_mb, memory),
      atLeast("accuracy, points above PEFT", points(ours.accuracy), -0.5),
      atLeast("merged accuracy, points above PEFT", points(ours.merged_accuracy), -0.5),
    ];
    const wanted = theirs === undefined ? [] : [{
      setting,
      what: `${speed} times PEFT float32`,
      tokensPerSecond: speed * theirs.tokens_per_s,
    }];
    yield {
      workload: `B5 ${setting}`,
      about: `MiniLM int8, banking77, LoRA r8 on query,value and a head, setting ${setting}`,
      measured_at: new Date().toISOString(),
      rounds: context.rounds,
      graft: ours,
      peers: theirs === undefined ? [] : [theirs],
      goals,
      tables: ceilingTables(
        bounds.filter((one) => one.setting === setting),
        { [setting]: ours.tokens_per_s },
        wanted,
      ),
      notes: measured.notes,
    };
  }
}
