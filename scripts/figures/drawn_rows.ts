/** Data files of rows drawn at random, of the sentences in the shared folder. */
import type { Random } from "../../src/random.ts";

/** An instruction that sequences begin with. */
const BEGINNING =
  "You answer questions of a bank's customers. Be short and polite, and name what the customer should do next. The customer writes: ";

/** Sentences that are joined to one row at most: some 300 tokens. */
const MOST_JOINED = 24;

/**
 * Writes rows drawn at random and returns the file's path.
 *
 * @param what `plain text`, `common beginning`, `e2e`, `banking77`, or `long classes`: texts of many lengths
 * @param path without its ending
 */
export function writeRows(
  what: string,
  count: number,
  path: string,
  shared: string,
  random: Random,
): string {
  const lines = (file: string) =>
    Deno.readTextFileSync(`${shared}/data/${file}`).trim().split("\n");
  const pick = (all: readonly string[]) => all[random.next() % all.length];
  const many = (row: () => string) => Array.from({ length: count }, row);
  if (what === "e2e") {
    const rows = lines("e2e/train.jsonl");
    return write(`${path}.jsonl`, many(() => pick(rows)));
  }
  const [head, ...records] = lines("banking77/train.csv");
  // Some records are of several lines.
  const questions = records.filter((line) => /^("[^"]*"|[^",]*),[^",]+$/.test(line));
  if (what === "banking77") return write(`${path}.csv`, [head, ...many(() => pick(questions))]);
  const words = questions.map((line) => line.replaceAll('"', "").replace(/,[^,]*$/, ""));
  const text = () => {
    const sentences = 1 + random.next() % MOST_JOINED;
    return Array.from({ length: sentences }, () => pick(words)).join(" ");
  };
  if (what === "long classes") {
    return write(`${path}.csv`, [
      "text,label",
      ...many(() => `"${text()}",class ${random.next() % 8}`),
    ]);
  }
  const beginning = what === "common beginning" ? BEGINNING : "";
  return write(`${path}.jsonl`, many(() => JSON.stringify({ text: beginning + text() })));
}

function write(path: string, lines: readonly string[]): string {
  Deno.writeTextFileSync(path, lines.join("\n") + "\n");
  return path;
}
