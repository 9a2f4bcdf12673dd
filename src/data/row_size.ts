/** Limits the length of a text that is encoded at once. */
import { BadInputError } from "../errors.ts";
import type { Row } from "./rows.ts";

/** Most characters of a row, of messages or of a text: some 250,000 tokens. */
const MAX_CHARACTERS = 1 << 20;

/** Characters of all strings in a value. */
export function characters(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  let sum = 0;
  for (const child of Object.values(value)) sum += characters(child);
  return sum;
}

/** Characters of a row's fields. */
export function rowCharacters(row: Row): number {
  return characters(row) - row.kind.length;
}

/**
 * @param count characters of a row, of messages or of a text
 * @param place its place, for the message
 * @throws {BadInputError} for more than {@linkcode MAX_CHARACTERS}
 */
export function checkCharacters(count: number, place: string): void {
  if (count <= MAX_CHARACTERS) return;
  throw new BadInputError(
    `${place}: the text has ${count} characters, and graft accepts at most ${MAX_CHARACTERS} at a ` +
      "time: divide it",
  );
}
