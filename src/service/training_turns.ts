/**
 * One training at a time in a service's folder: a round, or a job that came over HTTP. A round goes first: a
 * job in work stops after a checkpoint, and goes on after it. Locks of two folders tell who trains, so that
 * a kill leaves nothing behind.
 */
import { join } from "@std/path";
import { StorageError } from "../errors.ts";
import type { TrainingTurns } from "../jobs/jobs.ts";
import { makeDirectory } from "../system/durable_files.ts";
import { HeldFolder } from "../system/held_folder.ts";

/** Locked by a round that trains or waits to. */
const ROUND = "cycles";
/** Locked by a job that trains. */
const JOBS = "jobs";

/** How often a round looks whether the job has stopped. */
const LOOK_MS = 100;

/** The turns of the jobs of a service. */
export class JobTurns implements TrainingTurns {
  /** @param folder the service's */
  constructor(readonly folder: string) {
    makeDirectory(join(folder, JOBS));
  }

  claim(): Disposable | undefined {
    return this.isWanted() ? undefined : this.#attempt(() => tryLock(this.folder, JOBS));
  }

  isWanted(): boolean {
    const isFree = this.#attempt(() => {
      using free = tryLock(this.folder, ROUND);
      return free !== undefined;
    });
    return isFree === false;
  }

  /** Out of descriptors, say, it is not known: jobs look again. */
  #attempt<T>(action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      if (error instanceof StorageError) return undefined;
      throw error;
    }
  }
}

/**
 * Waits until no job trains, and keeps jobs from training.
 *
 * @param onWait called if a job has to stop first
 * @returns the turn; `undefined` if the signal came first
 */
export async function claimForRound(
  folder: string,
  signal: AbortSignal,
  onWait: () => void,
): Promise<Disposable | undefined> {
  using claimed = new DisposableStack();
  const round = await lockOf(folder, ROUND, signal, () => {});
  if (round === undefined) return undefined;
  claimed.use(round);
  const job = await lockOf(folder, JOBS, signal, onWait);
  if (job === undefined) return undefined;
  claimed.use(job);
  return claimed.move();
}

/** Waits for a lock; `undefined` if the signal came first. */
async function lockOf(
  folder: string,
  name: string,
  signal: AbortSignal,
  onWait: () => void,
): Promise<Disposable | undefined> {
  for (let tries = 0; !signal.aborted; tries++) {
    const lock = tryLock(folder, name);
    if (lock !== undefined) return lock;
    if (tries === 0) onWait();
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return undefined;
}

/** A lock; `undefined` while another process has it. Nobody has one of a folder that is not there. */
function tryLock(folder: string, name: string): Disposable | undefined {
  const held = HeldFolder.open(join(folder, name));
  if (held === undefined) return { [Symbol.dispose]() {} };
  if (held.tryLock()) return held;
  held[Symbol.dispose]();
  return undefined;
}
