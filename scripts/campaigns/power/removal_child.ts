/**
 * A folder removed for power losses: `removal_child.ts FOLDER`. Puts files into it, prints `saved`,
 * removes it and prints `removed`.
 */
import { join } from "@std/path";
import { exists, removeDirectory, replaceDirectory } from "../../../src/system/durable_files.ts";

const NAMES = ["a", "b", "c", "d", "e"];
const content = new Uint8Array(900).fill(7);

/** How many of the files are there whole; `undefined` where the folder is not. */
export function filesIn(folder: string): number | undefined {
  if (!exists(folder)) return undefined;
  return NAMES.map((name) => join(folder, name)).filter((path) =>
    exists(path) && Deno.readFileSync(path).length === content.length
  ).length;
}

export const ALL_FILES = NAMES.length;

if (import.meta.main) {
  const [folder] = Deno.args;
  replaceDirectory(folder, new Map(NAMES.map((name) => [name, content])));
  console.log("saved");
  removeDirectory(folder);
  console.log("removed");
}
