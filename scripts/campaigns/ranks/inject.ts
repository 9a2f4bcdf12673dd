/** Waits for the moment of a fault, and makes it happen. */
import { join } from "@std/path";
import { rankProcesses } from "../../../tests/helpers/mpi_jobs.ts";
import type { FaultCase } from "./cases.ts";
import type { Job, JobPlace } from "./job.ts";
import { adapterOf, STEPS, STEPS_PER_CHECKPOINT, STEPS_PER_EVALUATION } from "./training.ts";

/** How much longer a job plans, or starts, than its steps take. */
const LONGER = 20;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What was done. */
export interface Injected {
  /** The last line that the job had printed. */
  readonly after: string;
  /** `performance.now()` at that time. */
  readonly atMs: number;
  /** Process of the rank. */
  readonly pid: number;
  /** Fulfilled once nothing is left to be done: a cable is back. */
  readonly isOver: Promise<void>;
}

/**
 * Injects a fault into a job.
 *
 * @throws {Error} if the job ends before
 */
export async function inject(one: FaultCase, job: Job, place: JobPlace): Promise<Injected> {
  const adapter = adapterOf(place.folder);
  let pid: number | undefined;
  while ((pid = rankProcesses(adapter).get(one.rank)) === undefined && !job.hasEnded) {
    await sleep(1);
  }
  await momentOf(one, job, adapter);
  if (job.hasEnded || pid === undefined) throw new Error(`It had ended before: ${job.output}`);
  const atMs = performance.now();
  const isOver = act(one, pid, place);
  return { after: job.output.trim().split("\n").at(-1)!, atMs, pid, isOver };
}

async function momentOf({ moment, at, delayMs }: FaultCase, job: Job, adapter: string) {
  const one = (of: number) => 1 + Math.floor(at * of);
  const reported = (step: number) => job.until(new RegExp(`^step ${step}/`, "m"));
  switch (moment) {
    case "starting":
      return await sleep(LONGER * delayMs);
    case "planning":
      await job.until(/^\d ranks train together/m);
      return await sleep(LONGER * delayMs);
    case "step":
      await reported(one(STEPS - 1));
      return await sleep(delayMs);
    case "evaluation":
      await reported(STEPS_PER_EVALUATION * one(STEPS / STEPS_PER_EVALUATION - 1));
      return await sleep(delayMs);
    case "checkpoint":
      await reported(STEPS_PER_CHECKPOINT * one(STEPS / STEPS_PER_CHECKPOINT - 1));
      return await beingWritten(join(adapter, "checkpoints"), job);
  }
}

/** Waits until a checkpoint is being written. */
async function beingWritten(folder: string, job: Job): Promise<void> {
  const isBeing = () => {
    try {
      return [...Deno.readDirSync(folder)].some(({ name }) => !/^(step-\d+|latest)$/.test(name));
    } catch {
      return false;
    }
  };
  while (!isBeing() && !job.hasEnded) await sleep(0);
}

function act(one: FaultCase, pid: number, { wire }: JobPlace): Promise<void> {
  switch (one.fault) {
    case "killed":
      Deno.kill(pid, "SIGKILL");
      return Promise.resolve();
    case "stopped":
      Deno.kill(pid, "SIGSTOP");
      return Promise.resolve();
    case "unplugged":
      wire.pull(one.rank);
      return Promise.resolve();
    case "plugged back":
      wire.pull(one.rank);
      return sleep(1000 * one.outSeconds).then(() => wire.putBack(one.rank));
    case "losing packets":
      wire.lose(one.rank, one.lossPercent);
      return Promise.resolve();
  }
}
