/** The quickstart's folder, which each run replaces; no other folder is replaced. */
import { join } from "@std/path";
import { StorageError, UsageError } from "../../errors.ts";
import { makeDirectory, replaceFile } from "../../system/durable_files.ts";

/** Paths of a quickstart. */
export interface QuickstartFolder {
  readonly adapter: string;
  readonly merged: string;
}

/** Marks a quickstart's folder, so that the next one may replace its contents. */
const MARKER = ".graft-quickstart";

/**
 * Prepares a folder for a run, removing the files of an earlier quickstart.
 *
 * @throws {UsageError} if the folder exists and is not a quickstart's
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
