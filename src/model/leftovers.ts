/** What a killed merge or quantisation leaves beside its target, and how the next one clears it. */
import { basename, dirname, join } from "@std/path";
import { claimDirectory } from "../system/claim.ts";
import { exists } from "../system/durable_files.ts";

/** Begins the names of folders that are being written. */
const UNFINISHED = ".unfinished-model-";
/** Begins the names of folders that are being replaced. */
const REPLACED = ".replaced-model-";

/**
 * Where a folder is written before it takes its target's place.
 *
 * @param variant tells several candidates for one target apart
 * @param attempt 1, or more where other processes are writing the same
 */
export function unfinishedPath(target: string, variant: string, attempt: number): string {
  const suffix = [basename(target), variant, attempt === 1 ? "" : `${attempt}`]
    .filter((part) => part !== "");
  return join(dirname(target), UNFINISHED + suffix.join("-"));
}

/** Where a target's old content stays until the new one is in its place. */
export function replacedPath(target: string): string {
  return join(dirname(target), REPLACED + basename(target));
}

/**
 * Removes what processes that are gone have left unfinished in a folder, and puts back what they had
 * moved aside and not replaced. What a running process has claimed stays; so does what cannot be
 * removed or claimed: nobody waits for it.
 */
export function clearLeftovers(directory: string): void {
  for (const { name, isDirectory } of entriesOf(directory)) {
    if (!isDirectory) continue;
    if (name.startsWith(UNFINISHED)) clear(join(directory, name));
    else if (name.startsWith(REPLACED)) {
      clear(join(directory, name), join(directory, name.slice(REPLACED.length)));
    }
  }
}

function entriesOf(directory: string): readonly Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(directory)];
  } catch {
    return []; // it does not exist yet, or writing there will say what is wrong
  }
}

/** @param target what the folder was before it was moved aside */
function clear(path: string, target?: string): void {
  using claim = claimDirectory(path);
  if (claim === undefined) return;
  try {
    if (target !== undefined && !exists(target)) Deno.renameSync(path, target);
    else Deno.removeSync(path, { recursive: true });
  } catch {
    // the next run tries again
  }
}
