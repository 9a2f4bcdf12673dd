/** Large files inside a program file, behind the runtime and before what Deno joins to it. */
import {
  type Appended,
  appendedStart,
  PAGE_BYTES,
  sectionsEnd,
} from "../../src/system/embedded.ts";

/** A file to append, by its path from the root. */
export interface LargeFile {
  readonly name: string;
  readonly content: Uint8Array;
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).toHex();
}

const upToPage = (bytes: number): number => Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;

/** Gives each file its place, on pages of its own. */
export async function placeFiles(
  files: readonly LargeFile[],
): Promise<Readonly<Record<string, Appended>>> {
  const places: Record<string, Appended> = {};
  let offset = 0;
  for (const { name, content } of files) {
    places[name] = { offset, sizeBytes: content.length, sha256: await sha256(content) };
    offset += upToPage(content.length);
  }
  return places;
}

/**
 * A compiled program with files in it. Deno finds its own part from the file's end, so that it may
 * begin anywhere.
 *
 * @throws {Error} where nothing lies behind the runtime: this Deno joins programs in another way
 */
export function insertFiles(
  program: Uint8Array,
  files: readonly LargeFile[],
  places: Readonly<Record<string, Appended>>,
): Uint8Array {
  const runtimeEnd = sectionsEnd(program);
  if (runtimeEnd >= program.length) {
    throw new Error("Deno's part of the program does not follow the runtime's ELF sections");
  }
  const start = appendedStart(program);
  const ends = Object.values(places).map(({ offset, sizeBytes }) => offset + sizeBytes);
  const end = start + upToPage(Math.max(0, ...ends));
  const whole = new Uint8Array(end + program.length - runtimeEnd);
  whole.set(program.subarray(0, runtimeEnd));
  for (const { name, content } of files) whole.set(content, start + places[name].offset);
  whole.set(program.subarray(runtimeEnd), end);
  return whole;
}
