/** Texts of many tokens, so that every row is as long as a flag allows. */

/** Rows that are joined to one. */
const JOINED = 64;
/** Rows that are made. */
const ROWS = 64;

/**
 * @param file with a row a line, its first left out
 * @param pick the text of a line
 */
function longTexts(file: string, pick: (line: string) => string): string[] {
  const texts = Deno.readTextFileSync(file).trim().split("\n").slice(1).map(pick);
  return Array.from(
    { length: ROWS },
    (_, i) => texts.slice(i * JOINED, (i + 1) * JOINED).join(" ").slice(0, 5000),
  );
}

/** The lines of e2e as texts, in a file as `--data` takes it. */
export function writeLongTexts(shared: string, path: string): void {
  const texts = longTexts(`${shared}/data/e2e/train.jsonl`, (line) => JSON.parse(line).completion);
  Deno.writeTextFileSync(path, texts.map((text) => JSON.stringify({ text }) + "\n").join(""));
}
