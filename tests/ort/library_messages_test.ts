/** What the library says of its parameters. */
import { assertEquals } from "@std/assert";
import { kebab } from "../../src/config/parameter.ts";
import { sourceFiles } from "../../scripts/source_files.ts";
import { loadVerbs } from "../../src/cli/verb_tree.ts";

const SOURCE = new URL("../../src/", import.meta.url).pathname;

/** Layers that speak to users of the command line, or start it. */
const COMMAND_LINE = ["cli", "doctor", "service", "jobs"];

Deno.test("messages of the library name parameters by a function, and flags only in whole commands", async () => {
  const verbs = await loadVerbs();
  const flags = new Set(verbs.flatMap(({ command }) => Object.keys(command.flags).map(kebab)));
  const layers = [...Deno.readDirSync(SOURCE)].filter(({ name, isDirectory }) =>
    isDirectory && !COMMAND_LINE.includes(name)
  );
  const found: string[] = [];
  for (const path of layers.flatMap(({ name }) => [...sourceFiles(`${SOURCE}${name}`)])) {
    const code = Deno.readTextFileSync(path).replace(/\/\*[\s\S]*?\*\//g, "").replace(
      /^\s*\/\/.*$/gm,
      "",
    );
    for (const [line] of code.matchAll(/^.*--[a-z].*$/gm)) {
      const withoutCommands = line.replace(/\bgraft [a-z]+ [^`"]*/g, "");
      for (const [, flag] of withoutCommands.matchAll(/--([a-z]+(?:-[a-z]+)*)/g)) {
        if (flags.has(flag)) found.push(`${path.slice(SOURCE.length)}: ${line.trim()}`);
      }
    }
  }
  assertEquals(found, []);
});
