/** B1 to B5: training beside PEFT. */
import { median } from "../../src/statistics.ts";
import { graft } from "../figures/children.ts";
import { type Workload, workload } from "../figures/workloads.ts";
import { type KernelRate, type Layers, trainingCeiling } from "./ceiling.ts";
import { type Context, missing } from "./context.ts";
import {
  heldOutAccuracy,
  heldOutLoss,
  mergeGraft,
  type Setting,
  trainGraft,
} from "./graft_side.ts";
import { PEFT_TYPES, type PeftType, trainPeft } from "./peft_side.ts";
import {
  atLeast,
  atMost,
  type Goal,
  medianResult,
  type Report,
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

/** Medians of all rounds, by side. */
export interface Measured {
  readonly graft: Readonly<Partial<Record<Setting, TrainResult>>>;
  readonly peft: Readonly<Partial<Record<PeftType, TrainResult>>>;
  readonly notes: readonly string[];
}

/** Runs the sides alternately; the adapters stay in the context's folder. */
async function alternate(
  context: Context,
  work: Workload,
  settings: readonly Setting[],
  types: readonly PeftType[],
): Promise<Measured> {
  const notes: string[] = [];
  const sides: { readonly runs: TrainResult[]; readonly run: () => Promise<TrainResult> }[] = [];
  const add = (run: () => Promise<TrainResult>) => {
    const runs: TrainResult[] = [];
    sides.push({ runs, run });
    return runs;
  };
  const graftRuns = new Map<Setting, TrainResult[]>();
  for (const setting of settings) {
    const adapter = adapterOf(context, work, setting);
    graftRuns.set(setting, add(() => trainGraft(work, setting, adapter)));
  }
  const peftRuns = new Map<PeftType, TrainResult[]>();
  const why = missing(context, "torch", "transformers", "peft");
  if (why !== undefined) notes.push(`PEFT was not measured: ${why}`);
  else for (const dtype of types) peftRuns.set(dtype, add(() => trainPeft(context, work, dtype)));
  for (let round = 0; round < context.rounds; round++) {
    for (const { runs, run } of sides) {
      const found = await run();
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

/**
 * B1 to B4, on both sets of targets: one set of runs serves all that are wanted.
 *
 * @param wanted names of the workloads: B1, B2, B3, B4
 */
export async function* languageModel(
  context: Context,
  wanted: ReadonlySet<string>,
): AsyncGenerator<Report> {
  const settings: Setting[] = [];
  if (["B1", "B3", "B4"].some((name) => wanted.has(name))) settings.push("fast");
  if (["B2", "B3"].some((name) => wanted.has(name))) settings.push("exact");
  const compared = wanted.has("B1") || wanted.has("B2");
  const types = compared ? PEFT_TYPES : wanted.has("B4") ? ["float32" as const] : [];
  for (const targets of TARGETS) {
    if (!compared && !wanted.has("B3") && targets.name !== "q,v") continue;
    const work = workload(context.shared, targets.workload, context.data);
    const measured = await alternate(context, work, settings, types);
    const common = { measured_at: new Date().toISOString(), rounds: context.rounds };
    if (compared) {
      const before = await heldOutLoss(work);
      for (const [name, setting] of [["B1", "fast"], ["B2", "exact"]] as const) {
        if (!wanted.has(name)) continue;
        const report = await besidePeft(context, work, targets, setting, measured, before);
        yield { ...common, workload: `${name} ${targets.name}`, ...report };
      }
    }
    if (wanted.has("B3")) {
      const report = await ofCeiling(work, measured);
      yield { ...common, workload: `B3 ${targets.name}`, ...report };
    }
    if (wanted.has("B4") && targets.name === "q,v") {
      yield { ...common, workload: "B4", ...memory(measured) };
    }
  }
}

type Body = Omit<Report, "workload" | "measured_at" | "rounds">;

async function besidePeft(
  context: Context,
  work: Workload,
  targets: Targets,
  setting: Setting,
  measured: Measured,
  before: number,
): Promise<Body> {
  const trained = measured.graft[setting];
  const loss = trained && await heldOutLoss(work, adapterOf(context, work, setting));
  const ours = trained && { ...trained, valid_loss_before: before, valid_loss: loss };
  const peers = Object.values(measured.peft);
  const better = peers.toSorted((a, b) => b.tokens_per_s - a.tokens_per_s)[0];
  const goals: Goal[] = [];
  if (ours !== undefined && better !== undefined) {
    const times = ours.tokens_per_s / better.tokens_per_s;
    goals.push(atLeast(`tok/s, times PEFT ${better.dtype}`, times, targets.speed[setting]));
    const theirs = measured.peft.float32!.valid_loss!;
    const apart = Math.abs(ours.valid_loss! / theirs - 1);
    goals.push(atMost("validation loss, relative distance to PEFT float32", apart, 0.01));
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

function memory({ graft: { fast }, peft: { float32 }, notes }: Measured): Body {
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

/** Forms whose speed is a setting's ceiling. */
const FORM: Readonly<Record<Setting, string>> = { exact: "fp32_gemm", fast: "u8s8" };

async function ofCeiling(work: Workload, { graft: found, notes }: Measured): Promise<Body> {
  const inspected = JSON.parse(
    (await graft(
      ...["inspect", work.model, "--json", "--target-modules", work.targets, "--rank", "8"],
    )).stdout,
  );
  const goals: Goal[] = [];
  const rows: Record<string, string | number>[] = [];
  for (const setting of ["fast", "exact"] as const) {
    const ours = found[setting];
    if (ours === undefined) continue;
    const steps = JSON.parse(
      (await graft(
        ...["bench", "train", "--json", "--model", work.model, "--data", work.data],
        ...["--batch-size", String(work.batch), "--target-modules", work.targets, "--steps", "4"],
        ...["--numeric", setting],
      )).stdout,
    ).configurations[0];
    const tokens = Math.round(steps.tokens / steps.steps);
    const { kernels } = JSON.parse(
      (await graft(
        ...["bench", "kernels", "--json", "--refresh", "--model", work.model],
        ...["--tokens", String(tokens)],
      )).stdout,
    );
    const rates = (form: string): KernelRate[] =>
      kernels.filter((kernel: KernelRate & { readonly form: string }) => kernel.form === form);
    const linear = rates(FORM[setting]);
    const float = median(rates("fp32_gemm").map(({ gflops }) => gflops));
    const layers = layersOf(inspected.targets);
    const ceiling = trainingCeiling(
      {
        layers,
        attentionWidth: layers[0].rows,
        blocks: inspected.layers,
        length: tokens / work.batch,
        targetShare: steps.targets / steps.tokens,
        backwardShare: 1,
        adapterParameters: inspected.lora.trainableParameters,
      },
      linear,
      float,
    );
    goals.push(atLeast(`${setting}, share of the ceiling`, ours.tokens_per_s / ceiling, 0.6));
    rows.push({
      setting,
      kernel: FORM[setting],
      "GFLOP/s": median(linear.map(({ gflops }) => gflops)),
      "ceiling tok/s": ceiling,
      "tok/s": ours.tokens_per_s,
      "tokens a step": tokens,
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

/** B5: an encoder with a new head, and what merging it keeps. */
export async function* classifier(context: Context): AsyncGenerator<Report> {
  const work = workload(context.shared, "banking77", context.data);
  const setting = "fast";
  const measured = await alternate(context, work, [setting], ["float32"]);
  const adapter = adapterOf(context, work, setting);
  const merged = `${context.folder}/banking77-merged`;
  await mergeGraft(work.model, adapter, merged);
  const ours: TrainResult = {
    ...measured.graft.fast!,
    accuracy: await heldOutAccuracy(work.model, work, adapter),
    merged_accuracy: await heldOutAccuracy(merged, work),
  };
  const theirs = measured.peft.float32;
  const goals = theirs === undefined ? [] : [
    atLeast("tok/s, times PEFT float32", ours.tokens_per_s / theirs.tokens_per_s, 3),
    atMost("peak memory, times PEFT float32", ours.peak_rss_mb / theirs.peak_rss_mb, 0.35),
    atLeast("accuracy, points above PEFT", 100 * (ours.accuracy! - theirs.accuracy!), -0.5),
    atLeast(
      "merged accuracy, points above PEFT",
      100 * (ours.merged_accuracy! - theirs.accuracy!),
      -0.5,
    ),
  ];
  yield {
    workload: "B5",
    about: `MiniLM int8, banking77, LoRA r8 on query,value and a head, setting ${setting}`,
    measured_at: new Date().toISOString(),
    rounds: context.rounds,
    graft: ours,
    peers: theirs === undefined ? [] : [theirs],
    goals,
    tables: [],
    notes: measured.notes,
  };
}
