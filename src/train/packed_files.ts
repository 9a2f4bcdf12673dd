/** Several files as one run of bytes, to be sent to another process. */

/** Bytes of the length of the table of files. */
const LENGTH_BYTES = 4;

/** A table of names and sizes as JSON, its length before it, and the files' bytes. */
export function packFiles(
  files: ReadonlyMap<string, readonly Uint8Array[]>,
): Uint8Array<ArrayBuffer> {
  const sizeOf = (parts: readonly Uint8Array[]) =>
    parts.reduce((sum, { length }) => sum + length, 0);
  const table = new TextEncoder().encode(
    JSON.stringify([...files].map(([name, parts]) => [name, sizeOf(parts)])),
  );
  const content = [table, ...[...files.values()].flat()];
  const packed = new Uint8Array(LENGTH_BYTES + sizeOf(content));
  new DataView(packed.buffer).setUint32(0, table.length);
  let offset = LENGTH_BYTES;
  for (const part of content) {
    packed.set(part, offset);
    offset += part.length;
  }
  return packed;
}

/** The files that were packed, as views of their bytes. */
export function unpackFiles(packed: Uint8Array<ArrayBuffer>): Map<string, Uint8Array> {
  const length = new DataView(packed.buffer, packed.byteOffset).getUint32(0);
  let offset = LENGTH_BYTES + length;
  const table: [string, number][] = JSON.parse(
    new TextDecoder().decode(packed.subarray(LENGTH_BYTES, offset)),
  );
  return new Map(table.map(([name, size]) => {
    offset += size;
    return [name, packed.subarray(offset - size, offset)];
  }));
}
