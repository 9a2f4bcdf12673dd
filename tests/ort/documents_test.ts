import { assertEquals, assertGreater } from "@std/assert";
import { join } from "@std/path";
import { parseArguments } from "../../src/cli/args.ts";
import { findVerb } from "../../src/cli/find_verb.ts";
import { exists } from "../../src/system/durable_files.ts";
import {
  commandsOf,
  type DocumentedCommand,
  documents,
  headingsOf,
  linksOf,
  ROOT,
  textOf,
} from "../helpers/documents.ts";

const isThere = (path: string) => exists(join(ROOT, path));

Deno.test("Documents: every link leads to a file, and to a heading of it", () => {
  const broken = documents().flatMap((document) =>
    linksOf(document).filter(({ path, heading }) =>
      !isThere(path) ||
      (heading !== undefined && path.endsWith(".md") && !headingsOf(path).has(heading))
    ).map(({ text }) => `${document}: ${text}`)
  );
  assertEquals(broken, []);
});

Deno.test("Documents: every file and task that they name is there", () => {
  const tasks = new Set(Object.keys(JSON.parse(textOf("deno.json")).tasks));
  const missing = documents().flatMap((document) => {
    const text = textOf(document);
    const names = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name);
    return [
      ...names(/deno task ([a-z:-]+)/g).filter((name) => !tasks.has(name)),
      ...names(/[\s`(]((?:scripts|src|ffi|tests|docs)\/[\w./-]+\.\w+)/g)
        .filter((path) => !isThere(path)),
      // Of the sources, also without their folder's name.
      ...names(/`([\w./-]+\/[\w.-]+\.ts)`/g)
        .filter((path) => !isThere(path) && !isThere(join("src", path))),
    ].map((name) => `${document}: ${name}`);
  });
  assertEquals(missing, []);
});

/** Why graft would not take a command; `undefined` if it would. */
async function refusal({ words, isWhole }: DocumentedCommand): Promise<string | undefined> {
  // What every verb has, and the program without a verb.
  if (["--help", "--version", "help"].includes(words[0])) return undefined;
  try {
    const { command, rest } = await findVerb(words);
    // In a sentence a flag may stand for itself, or its value for any.
    const lastFlag = rest.findLastIndex((word) => word.startsWith("--"));
    const isMention = !isWhole && lastFlag >= 0 && /^[A-Z]*$/.test(rest.slice(lastFlag + 1).join());
    const mentioned = isMention ? rest[lastFlag].slice(2).replaceAll("-", "") : undefined;
    const isKnown = mentioned !== undefined &&
      Object.entries(command.flags).some(([key, { aliases = [] }]) =>
        [key, ...aliases].some((name) => name.toLowerCase() === mentioned)
      );
    parseArguments(isKnown ? rest.slice(0, lastFlag) : rest, command.flags);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

Deno.test("Documents: every command of graft has a verb, flags and values that it takes", async () => {
  const refused: string[] = [];
  let count = 0;
  for (const document of documents()) {
    for (const command of commandsOf(document)) {
      const why = await refusal(command);
      if (why !== undefined) refused.push(`${document}: ${command.text}: ${why}`);
      count++;
    }
  }
  assertEquals(refused, []);
  assertGreater(count, 200);
});
