/** All verbs with their flags, for what is generated from them: completion, the manual page. */
import type { Command, Verbs } from "./command.ts";
import { kebab } from "../config/parameter.ts";
import type { Flag } from "./flags.ts";
import { VERBS } from "./verbs.ts";

/** A verb and the words that call it: `["bench", "train"]`. */
export interface PlacedVerb {
  readonly words: readonly string[];
  readonly command: Command;
}

/** Loads every verb, each before its verbs of a second word, in the order that help lists them. */
export async function loadVerbs(verbs: Verbs = VERBS): Promise<PlacedVerb[]> {
  const found: PlacedVerb[] = [];
  for (const [name, load] of Object.entries(verbs)) {
    const command = (await load()).default;
    found.push({ words: [name], command });
    for (const { words, command: second } of await loadVerbs(command.verbs ?? {})) {
      found.push({ words: [name, ...words], command: second });
    }
  }
  return found;
}

/** How a flag is written on the command line, and what may follow it. */
export interface Spelling {
  /** `--long` forms, the one that help shows first. */
  readonly long: readonly string[];
  /** `-x`. */
  readonly short?: string;
  /** Values to choose from, `file` for a path, `text` for anything else; absent for switches. */
  readonly value?: readonly string[] | "file" | "text";
}

/** Placeholders of flags that take a path. */
const PATHS = new Set(["DIR", "FILE", "PATH"]);

/** How the flag of a key (camelCase) is written. */
export function spellingOf(key: string, flag: Flag): Spelling {
  const name = kebab(key);
  const short = flag.short === undefined ? undefined : `-${flag.short}`;
  if (flag.kind === "boolean") {
    return { long: flag.default === true ? [`--no-${name}`, `--${name}`] : [`--${name}`], short };
  }
  const value = flag.choices ?? (PATHS.has(flag.placeholder ?? "") ? "file" : "text");
  return { long: [`--${name}`], short, value };
}
