/** The project's own TypeScript files. */
import { join } from "@std/path";

/** Folders whose files are others', or data. */
const NOT_SOURCES = new Set(["node_modules", "fixtures"]);

/** Paths of the TypeScript files in a folder and those below it, beginning with the folder's own. */
export function* sourceFiles(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = join(folder, name);
    if (isDirectory && !NOT_SOURCES.has(name)) yield* sourceFiles(path);
    else if (name.endsWith(".ts")) yield path;
  }
}
