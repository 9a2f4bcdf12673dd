/** What the project's documents name, so that tests can try it. */
import { dirname, fromFileUrl, join } from "@std/path";
import { filesIn } from "./files_in.ts";

/** The project's folder. */
export const ROOT = fromFileUrl(new URL("../..", import.meta.url));

/** Paths of the documents, from the project's folder. */
export function documents(): string[] {
  const below = filesIn(join(ROOT, "docs")).map((path) => join("docs", path));
  const all = ["README.md", "CHANGELOG.md", ...below];
  return all.filter((path) => path.endsWith(".md")).sort();
}

export const textOf = (path: string) => Deno.readTextFileSync(join(ROOT, path));

/** A link to another file of the project, or to a heading. */
export interface Link {
  readonly text: string;
  /** From the project's folder. */
  readonly path: string;
  readonly heading?: string;
}

/** Links of a document, without those to other hosts. */
export function linksOf(path: string): Link[] {
  return [...textOf(path).matchAll(/\]\(([^)\s]+)\)/g)].map(([, text]) => text)
    .filter((text) => !/^[a-z]+:/.test(text))
    .map((text) => {
      const [file, heading] = text.split("#");
      return { text, path: file === "" ? path : join(dirname(path), file), heading };
    });
}

/** Names by which links lead to the headings of a document, as on GitHub. */
export function headingsOf(path: string): Set<string> {
  const headings = [...textOf(path).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(/\s/g, "-")
  );
  return new Set(headings);
}

/** A command line in a document. */
export interface DocumentedCommand {
  readonly text: string;
  /** The words after `graft`, without those that stand for what the reader fills in. */
  readonly words: readonly string[];
  /** Whether it is meant to be run as it stands. */
  readonly isWhole: boolean;
}

const BLOCK = /```(\w*)\n([\s\S]*?)```/g;
const SHELLS = new Set(["", "sh", "bash", "console"]);
/** What may come before graft: a prompt, another user, variables, a launcher. */
const GRAFT = /^(?:\$ )?(?:sudo )?(?:[A-Z_]+=\S+ )*(?:mpirun .*? )?(?:deno task |\.\/)?graft (.+)$/;
/** What ends a command in a shell. */
const END = / (?:[|>&;#]|2>)/;
/** An ellipsis, an optional word, or alternatives. */
const STANDS_FOR = /^(?:…|\[.*\]?|.*\|.*|VERB)$/;

/** Commands of graft in a document: lines of its blocks, and what it says in between. */
export function commandsOf(path: string): DocumentedCommand[] {
  const text = textOf(path);
  const lines = [...text.matchAll(BLOCK)].filter(([, language]) => SHELLS.has(language))
    .flatMap(([, , block]) => block.replaceAll(/\\\n\s*/g, "").split("\n"));
  const inText = [...text.replaceAll(BLOCK, "").matchAll(/`([^`]+)`/g)]
    .map(([, words]) => words.replaceAll(/\s+/g, " "));
  return [
    ...lines.map((line) => ({ line, isWhole: true })),
    ...inText.map((line) => ({ line, isWhole: false })),
  ].flatMap(({ line, isWhole }) => {
    const command = GRAFT.exec(line)?.[1].split(END)[0];
    if (command === undefined) return [];
    const words = shellWords(command).filter((word) => !STANDS_FOR.test(word));
    return words.length === 0 ? [] : [{ text: line, words, isWhole }];
  });
}

/** Words of a command line, without their quotation marks. */
const shellWords = (line: string) =>
  (line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? []).map((word) => word.replaceAll(/["']/g, ""));
