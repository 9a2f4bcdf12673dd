/** The folder of a round's work: whose task it is, and how often it was begun. */
import { join } from "@std/path";
import {
  exists,
  makeDirectory,
  removeDirectory,
  removeFile,
  replaceFile,
} from "../../system/durable_files.ts";
import { readSmallText } from "../../system/small_file.ts";
import { hasCheckpoints } from "../../train/checkpoint_files.ts";
import { TRAINED } from "./box_config.ts";

/** Files: the name of the task that the work is of, and how often it was begun and not ended. */
const [NAME, ATTEMPTS] = ["task", "attempts"];

/** What there is of a task's work. */
export interface ClaimedWork {
  /** Whether there is a checkpoint to go on from. */
  readonly resume: boolean;
  /** Number of this attempt, from 1; those that were stopped in order do not count. */
  readonly attempt: number;
}

/** Takes the folder for a task; what is there of another one is removed. */
export function claimWork(work: string, task: string): ClaimedWork {
  if (readSmallText(join(work, NAME)) !== task) {
    removeWork(work);
    makeDirectory(work);
    writeText(join(work, NAME), task);
  }
  // Damaged, it counts as none: as "NaN" it would never reach the most.
  const attempt = (Number(readSmallText(join(work, ATTEMPTS))) || 0) + 1;
  writeText(join(work, ATTEMPTS), String(attempt));
  return { resume: hasCheckpoints(join(work, TRAINED, "checkpoints")), attempt };
}

/** An attempt has been stopped in order. */
export function forgiveAttempt(work: string): void {
  removeFile(join(work, ATTEMPTS));
}

/** Removes what is there of a task that has been replied to. */
export function removeWork(work: string): void {
  if (exists(work)) removeDirectory(work);
}

function writeText(path: string, text: string): void {
  replaceFile(path, new TextEncoder().encode(text));
}
