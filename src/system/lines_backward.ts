/** Reads a file of lines from its end: the newest cost no more in a long file than in a short one. */
import { concat } from "@std/bytes/concat";
import { readAt } from "./read_at.ts";
import { openRegularFile } from "./regular_file.ts";

/** Bytes that are read at a time: some hundred lines. */
const BLOCK_BYTES = 1 << 16;
const LINE_END = "\n".charCodeAt(0);

/**
 * Lines of a file, the last one first. A last line without an end is one, too; what is appended meanwhile
 * is not among them.
 *
 * @param path of a file that exists
 * @throws {BadInputError} for a folder, a pipe, a socket or a device
 * @throws {StorageError} if it cannot be opened
 */
export function* linesBackward(path: string): Generator<string> {
  using file = openRegularFile(path);
  const { size } = file.statSync();
  /** Rest of a line that begins before the blocks that were read. */
  let rest: readonly Uint8Array[] = [];
  for (let end = size; end > 0;) {
    const start = Math.max(end - BLOCK_BYTES, 0);
    const bytes = new Uint8Array(end - start);
    let block = bytes.subarray(0, readAt(file, start, bytes));
    if (end === size && block.at(-1) === LINE_END) block = block.subarray(0, -1);
    for (let at; (at = block.lastIndexOf(LINE_END)) >= 0;) {
      yield textOf([block.subarray(at + 1), ...rest]);
      rest = [];
      block = block.subarray(0, at);
    }
    rest = [block, ...rest];
    end = start;
  }
  if (size > 0) yield textOf(rest);
}

const textOf = (pieces: readonly Uint8Array[]) => new TextDecoder().decode(concat([...pieces]));
