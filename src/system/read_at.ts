/**
 * Reads from a place in an open file.
 *
 * @param offset in bytes
 * @param into filled as far as the file goes
 * @returns bytes read: `into.length`, or fewer where the file ends first
 */
export function readAt(file: Deno.FsFile, offset: number, into: Uint8Array): number {
  file.seekSync(offset, Deno.SeekMode.Start);
  let done = 0;
  while (done < into.length) {
    const count = file.readSync(into.subarray(done));
    if (count === null || count === 0) break;
    done += count;
  }
  return done;
}
