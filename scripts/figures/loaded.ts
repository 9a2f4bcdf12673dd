/**
 * How many files of the project each verb loads before it does anything; `graft bench start` measures
 * the time. Prints a JSON object.
 *
 * usage: deno run -A scripts/figures/loaded.ts [ROOT] (default: this checkout; another one to compare)
 */
import { basename, join, relative } from "@std/path";
import { loadedFiles } from "../loaded_files.ts";
import { sourceFiles } from "../source_files.ts";

const VERBS = ["main", "run", "eval", "list", "pull", "inspect", "train", "merge", "doctor"]
  .concat(["service_run", "service_train"]);

const root = Deno.realPathSync(Deno.args[0] ?? ".");
const counts: Record<string, number> = {};
for (const path of sourceFiles(join(root, "src/cli"))) {
  const verb = basename(path, ".ts");
  if (!VERBS.includes(verb)) continue;
  counts[verb] = (await loadedFiles(root, relative(root, path))).length;
}
console.log(JSON.stringify(counts, null, 2));
