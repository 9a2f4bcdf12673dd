/** What must hold after a fault. */
import { join } from "@std/path";
import {
  hasCheckpoints,
  listCheckpoints,
  readParameters,
} from "../../../src/train/checkpoint_files.ts";
import { readMetrics } from "../../../tests/helpers/training_runs.ts";
import { type FaultCase, goesOn } from "./cases.ts";
import type { JobEnd } from "./job.ts";
import { adapterOf, STEPS } from "./training.ts";

/** Exit code of a job that another try may end. */
const TRY_AGAIN = 75;

/** What is wrong with how a job ended and what it said. */
export function faultsOfEnd(one: FaultCase, timeout: number, end: JobEnd): readonly string[] {
  const { code, output } = end;
  if (goesOn(one)) return code === 0 ? [] : [`it ended with ${code}`];
  // The launcher ends a job of which a process was killed.
  if (one.fault === "killed") return code === 0 ? ["it ended with 0"] : [];
  const message = messageOf(one, timeout);
  // The launcher waits for a rank that has not joined, which then ends it.
  const isOwn = one.moment !== "starting";
  return [
    ...(code === TRY_AGAIN || !isOwn && code !== 0 ? [] : [`it ended with ${code}`]),
    ...(output.includes(message) ? [] : [`it did not say "${message}"`]),
  ];
}

function messageOf({ fault, moment, rank, ranks }: FaultCase, timeout: number): string {
  if (moment === "starting") return "Not all ranks started";
  if (fault === "stopped" && rank === 0) {
    return "Rank 0, or another that it waits for, did not answer";
  }
  const others = Array.from({ length: ranks - 1 }, (_, i) => i + 1);
  // A board without a cable sees all others missing.
  const missing = rank === 0 ? others : [rank];
  return `Rank${missing.length > 1 ? "s" : ""} ${
    missing.join(", ")
  } did not answer within ${timeout} s`;
}

/** What is wrong with the files that are left: damaged, or without what was reported as done. */
export function faultsOfFiles(
  one: FaultCase,
  folder: string,
  { output }: JobEnd,
): readonly string[] {
  const checkpoints = join(adapterOf(folder), "checkpoints");
  const faults = listCheckpoints(checkpoints).flatMap(({ path }) => {
    try {
      readParameters(path);
      return [];
    } catch (error) {
      return [`${path} is damaged: ${(error as Error).message}`];
    }
  });
  const [saved, reported] = [/^step (\d+): saved/gm, /^step (\d+)\//gm].map((line) =>
    Number([...output.matchAll(line)].at(-1)?.[1] ?? 0)
  );
  // Rank 0 saves the last whole step, unless it is itself what is lost.
  const isSaved = !goesOn(one) && one.fault !== "killed" &&
    !(one.fault === "stopped" && one.rank === 0);
  const wanted = isSaved ? reported : saved;
  const found = listCheckpoints(checkpoints)[0]?.step ?? 0;
  return found < wanted
    ? [...faults, `the newest checkpoint is of step ${found}, not ${wanted}`]
    : faults;
}

/** What is wrong with the record of a finished run: every step must be in it once. */
export function faultsOfMetrics(folder: string): readonly string[] {
  const steps = readMetrics(adapterOf(folder)).flatMap(({ step, loss }) =>
    loss === undefined ? [] : [step]
  );
  const isWhole = steps.length === STEPS && steps.every((step, i) => step === i + 1);
  return isWhole ? [] : [`metrics.jsonl has the steps ${steps.join(" ")}`];
}

/** Whether there is something to resume from. */
export const canResume = (folder: string): boolean =>
  hasCheckpoints(join(adapterOf(folder), "checkpoints"));
