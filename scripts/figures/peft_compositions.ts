/**
 * How far every combination of `graft compose` is from PEFT's `add_weighted_adapter`, on random adapters
 * of a tiny model: prints, as Markdown, the largest difference of an element of an update, relative to the
 * largest of its module.
 *
 * usage: deno run -A scripts/figures/peft_compositions.ts
 */
import { compareCompositions } from "../../tests/helpers/peft_compositions.ts";
import { markdownTable } from "../markdown_table.ts";

const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const found = await compareCompositions(folder);
Deno.removeSync(folder, { recursive: true });
const rows = [...Map.groupBy(found, ({ what }) => what)].map(([what, modules]) => [
  what.replace(`${folder}/`, ""),
  String(modules.length),
  Math.max(...modules.map(({ difference }) => difference)).toExponential(1),
]);
console.log(markdownTable(["combination", "modules", "difference"], rows));
