/** The quickstart's folder: made anew by each run, and never anything else's. */
import { join } from "@std/path";
import { StorageError, UsageError } from "../errors.ts";
import { makeDirectory, replaceFile } from "../system/durable_files.ts";

/** Where a quickstart puts things. */
export interface QuickstartFolder {
  readonly adapter: string;
  readonly merged: string;
}

/** Says that a folder is a quickstart's, so that the next one may replace what is in it. */
const MARKER = ".graft-quickstart";

/**
 * Takes a folder for a run; what an earlier quickstart left in it goes.
 *
 * @throws {UsageError} where something is there that no quickstart made
 * @throws {StorageError} naming the path
 */
export function takeFolder(path: string): QuickstartFolder {
  const folder = { adapter: join(path, "adapter"), merged: join(path, "merged") };
  const names = entriesOf(path);
  if (!names.includes(MARKER)) {
    if (names.length > 0) {
      throw new UsageError(
        `Cannot use ${path}: it holds things that no quickstart made ("${
          names[0]
        }"); --out names ` +
          "another folder",
      );
    }
    makeDirectory(path);
    const words = "Made by graft quickstart: the next one replaces adapter and merged.\n";
    replaceFile(join(path, MARKER), new TextEncoder().encode(words));
  }
  for (const old of Object.values(folder)) remove(old);
  return folder;
}

function entriesOf(path: string): string[] {
  try {
    return Array.from(Deno.readDirSync(path), ({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    if (error instanceof Deno.errors.NotADirectory) {
      throw new UsageError(`Cannot use ${path}: it is a file; --out names a folder`);
    }
    throw new StorageError(`Cannot look at ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw new StorageError(`Cannot remove ${path}: ${(error as Error).message}`, { cause: error });
  }
}
