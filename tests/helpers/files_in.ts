import { join } from "@std/path";

/** Paths of all files below a folder, relative to it; none if it is not there. */
export function filesIn(folder: string, below = ""): readonly string[] {
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(join(folder, below))];
  } catch {
    return [];
  }
  return entries.flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(folder, join(below, name)) : [join(below, name)]
  ).sort();
}
