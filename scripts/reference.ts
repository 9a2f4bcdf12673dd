/** Writes the generated parts of docs/reference.md: flags, exit codes, environment variables. */
import type { Flag } from "../src/cli/flags.ts";
import { ENVIRONMENT, exitCodes, flagName } from "../src/cli/help.ts";
import { loadVerbs, type PlacedVerb } from "../src/cli/verb_tree.ts";
import { markdownTable } from "./markdown_table.ts";

/** The page, with marks around the generated parts. */
export const REFERENCE_PAGE = new URL("../docs/reference.md", import.meta.url);

/** Heading of the flags that most verbs share; the page lists them once. */
const SHARED_GROUP = "Runtime";

const code = (text: string) => `\`${text}\``;

/** Choices and default of a flag; empty where there is neither. */
function values(flag: Flag): string {
  const choices = flag.choices === undefined ? "" : flag.choices.map(code).join(", ");
  const hasDefault = flag.kind !== "map" && flag.default !== undefined &&
    String(flag.default) !== "" && (flag.kind !== "boolean" || flag.default === true);
  const value = flag.kind === "boolean" ? "on" : String(flag.default);
  const rest = flag.required ? "required" : hasDefault ? `default ${code(value)}` : "";
  return [choices, rest].filter((part) => part !== "").join("; ");
}

function flagTable(flags: readonly [string, Flag][]): string {
  return markdownTable(
    ["flag", "meaning", "values"],
    flags.map(([key, flag]) => [code(flagName(key, flag).trim()), flag.description, values(flag)]),
  );
}

function verbSection({ words, command }: PlacedVerb): string {
  const name = `graft ${words.join(" ")}`;
  const groups = Map.groupBy(
    Object.entries(command.flags) as [string, Flag][],
    ([, flag]) => flag.group ?? "",
  );
  const parts = [`### ${name}`, `${command.summary}.`];
  if (command.operands !== undefined) parts.push(`Usage: ${code(`${name} ${command.operands}`)}`);
  for (const [group, flags] of groups) {
    if (group === SHARED_GROUP && flags.length > 1) {
      parts.push("Also the [runtime flags](#runtime-flags).");
    } else {
      if (group !== "" && group !== SHARED_GROUP) parts.push(`${group}:`);
      parts.push(flagTable(flags));
    }
  }
  return parts.join("\n\n");
}

function runtimeFlags(verbs: readonly PlacedVerb[]): string {
  const { command } = verbs.find(({ words }) => words.join(" ") === "train")!;
  const flags = Object.entries(command.flags) as [string, Flag][];
  return flagTable(flags.filter(([, flag]) => flag.group === SHARED_GROUP));
}

/**
 * The page with its generated parts written anew; the text between them stays.
 *
 * @throws {Error} where a mark is missing
 */
export async function referencePage(page: string): Promise<string> {
  const verbs = await loadVerbs();
  const parts: Readonly<Record<string, string>> = {
    flags: verbs.map(verbSection).join("\n\n"),
    "runtime flags": runtimeFlags(verbs),
    "exit codes": markdownTable(
      ["code", "meaning"],
      exitCodes().map(([value, meaning]) => [String(value), meaning]),
    ),
    environment: markdownTable(
      ["variable", "meaning"],
      ENVIRONMENT.map(([names, meaning]) => [names.split(", ").map(code).join(", "), meaning]),
    ),
  };
  for (const [name, text] of Object.entries(parts)) {
    const [begin, end] = [`<!-- ${name}: by scripts/reference.ts -->`, `<!-- end of ${name} -->`];
    const [first, last] = [page.indexOf(begin), page.indexOf(end)];
    if (first < 0 || last < first) throw new Error(`docs/reference.md has no "${begin} … ${end}"`);
    page = `${page.slice(0, first + begin.length)}\n\n${text}\n\n${page.slice(last)}`;
  }
  return page;
}

if (import.meta.main) {
  const page = await Deno.readTextFile(REFERENCE_PAGE);
  await Deno.writeTextFile(REFERENCE_PAGE, await referencePage(page));
  console.log("docs/reference.md is written");
}
