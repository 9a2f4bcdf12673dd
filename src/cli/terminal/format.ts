/** Text as people read it on a terminal. */
export * from "../../format.ts";

/** A path as a shell takes it, in quotes where it needs them. */
export function shellWord(path: string): string {
  return /^[\w./+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

/** A heading with a line under it, for plain text. */
export function underlined(heading: string): string {
  return `${heading}\n${"-".repeat(heading.length)}`;
}
