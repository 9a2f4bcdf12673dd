/** One file out of a zip archive. */
import { inflateRawSync } from "node:zlib";

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const [STORED, DEFLATED] = [0, 8];

/**
 * The content of the first file whose name ends so.
 *
 * Source: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16. Without ZIP64.
 *
 * @throws {Error} where the archive has none, or packs it in another way
 */
export function unzip(archive: Uint8Array, ending: string): Uint8Array {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  let end = archive.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END_OF_DIRECTORY) end--;
  if (end < 0) throw new Error("It is no zip archive");
  const count = view.getUint16(end + 10, true);
  let entry = view.getUint32(end + 16, true);
  for (let i = 0; i < count; i++) {
    if (view.getUint32(entry, true) !== DIRECTORY_ENTRY) break;
    const lengths = [28, 30, 32].map((offset) => view.getUint16(entry + offset, true));
    const name = new TextDecoder().decode(archive.subarray(entry + 46, entry + 46 + lengths[0]));
    if (name.endsWith(ending)) {
      const local = view.getUint32(entry + 42, true);
      const start = local + 30 + view.getUint16(local + 26, true) +
        view.getUint16(local + 28, true);
      const packed = archive.subarray(start, start + view.getUint32(entry + 20, true));
      const method = view.getUint16(entry + 10, true);
      if (method === STORED) return packed;
      if (method === DEFLATED) return inflateRawSync(packed);
      throw new Error(`${name} is packed by method ${method}`);
    }
    entry += 46 + lengths[0] + lengths[1] + lengths[2];
  }
  throw new Error(`The archive has no file whose name ends with ${ending}`);
}
