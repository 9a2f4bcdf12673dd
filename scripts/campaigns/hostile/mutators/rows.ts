/** JSON lines and separated values: long, wide, deep, with names that objects inherit. */
import { pick, type Random } from "../random.ts";
import { HOSTILE_WORDS, OBJECT_WORDS } from "./words.ts";

const LONG = [10, 1000, 200_000, 1_200_000];
const MANY = [2, 100, 5000];

/** Data of more than a megabyte may take longer than a mutant has: encoding takes half a second for each. */
const MOST_BYTES = 1 << 20;

/** As many rows as are wanted, or as there is room for. */
const rowsOf = (many: number, word: string) =>
  Math.min(many, Math.ceil(MOST_BYTES / (word.length + 10)));

const row = (value: unknown) => JSON.stringify(value);

function jsonLines(random: Random): string {
  const text = "a b ".repeat(pick(random, LONG) / 4);
  const word = pick(random, HOSTILE_WORDS);
  const many = pick(random, MANY);
  switch (random(9)) {
    case 0:
      return row({ text }) + "\n" + row({ text: "a" });
    case 1: { // deep
      const depth = pick(random, [10, 100, 100_000]);
      return `{"text":"a","x":${"[".repeat(depth)}${"]".repeat(depth)}}`;
    }
    case 2: // wide
      return row(Object.fromEntries(Array.from({ length: many }, (_, i) => [`${word}${i}`, i])));
    case 3: // many turns
      return row({
        messages: Array.from({ length: many }, (_, i) => ({
          role: i % 2 === 0 ? "user" : "assistant",
          content: word.slice(0, 50),
          [pick(random, OBJECT_WORDS)]: i,
        })),
      });
    case 4:
      return `{"text":"a","${pick(random, OBJECT_WORDS)}":{"text":1}}`;
    case 5:
      return row({ text: "a", label: pick<unknown>(random, [1e300, -1, 0.5, word, null, [], {}]) });
    case 6:
      return row({ prompt: [{ role: "user", content: word }], completion: [{ role: word }] });
    case 7:
      return row({
        messages: [{ role: "user", content: [{ type: "text", text }] }],
        tools: [word],
      });
    default:
      return new Array(rowsOf(many, word)).fill(row({ text: word })).join("\n");
  }
}

function separated(random: Random): string {
  const many = pick(random, MANY);
  const word = pick(random, HOSTILE_WORDS);
  const separator = pick(random, [",", ";", "\t"]);
  switch (random(5)) {
    case 0: {
      const names = Array.from({ length: many }, (_, i) => `h${i}`);
      return `text${separator}${names.join(separator)}\n${separator.repeat(many)}`;
    }
    case 1:
      return `text${separator}${pick(random, OBJECT_WORDS)}\n${word}${separator}${word}`;
    case 2: // quotes
      return `text\n"${'""'.repeat(many)}${pick(random, ["", '"', '"x', '"\n"'])}`;
    case 3:
      return `text\n"${"a\n".repeat(pick(random, LONG) / 2)}"`;
    default:
      return `text${separator}label\n` +
        Array.from({ length: rowsOf(many, word) }, (_, i) => `${i}${separator}${word}`).join("\n");
  }
}

/** A file made of what readers stumble over. */
export function otherRows(random: Random): Uint8Array {
  const pieces = Array.from(
    { length: 1 + random(3) },
    () => random(3) === 0 ? separated(random) : jsonLines(random),
  );
  return new TextEncoder().encode(pieces.join(pick(random, ["\n", "\r\n", "\n\n", "\u2028", ""])));
}
