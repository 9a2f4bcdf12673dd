/**
 * Headers of tar archives.
 *
 * Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format", for sizes in
 * binary.
 */
import { concat } from "@std/bytes/concat";

/** Bytes of a header, and what the content of each file is filled up to. */
const BLOCK = 512;
const CHECKSUM_AT = 148;
const SIZE_AT = 124;
/** Greatest size in eleven octal digits. */
const MOST_OCTAL = 8 ** 11 - 1;

/** Bytes that fill the content of a file up to whole blocks. */
export const tarPadding = (sizeBytes: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array((BLOCK - sizeBytes % BLOCK) % BLOCK);

/** What ends an archive. */
export const TAR_END: Uint8Array<ArrayBuffer> = new Uint8Array(2 * BLOCK);

/** Bytes of an archive of files. */
export const tarBytes = (sizes: readonly number[]): number =>
  sizes.reduce((sum, size) => sum + BLOCK + size + tarPadding(size).length, TAR_END.length);

/**
 * The header of a regular file.
 *
 * @param name at most 100 characters of ASCII
 * @param modifiedAt whole seconds since 1970
 */
export function tarHeader(
  name: string,
  sizeBytes: number,
  modifiedAt: number,
): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(BLOCK);
  const write = (at: number, text: string) => header.set(new TextEncoder().encode(text), at);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  write(0, name);
  write(100, octal(0o644, 7));
  write(108, octal(0, 7)); // owner and group: root
  write(116, octal(0, 7));
  if (sizeBytes <= MOST_OCTAL) write(SIZE_AT, octal(sizeBytes, 11));
  else {
    header[SIZE_AT] = 0x80;
    new DataView(header.buffer).setBigUint64(SIZE_AT + 4, BigInt(sizeBytes));
  }
  write(136, octal(modifiedAt, 11));
  write(CHECKSUM_AT, " ".repeat(8));
  write(156, "0"); // a regular file
  write(257, "ustar\x0000");
  const sum = header.reduce((sum, byte) => sum + byte, 0);
  write(CHECKSUM_AT, `${octal(sum, 6)}\0 `);
  return header;
}

/** A regular file with its header, in parts. */
export const tarEntry = (
  name: string,
  bytes: Uint8Array,
  modifiedAt: number,
): readonly Uint8Array[] => [
  tarHeader(name, bytes.length, modifiedAt),
  bytes,
  tarPadding(bytes.length),
];

/** A small archive in memory. */
export const tarOf = (
  files: ReadonlyMap<string, Uint8Array>,
  modifiedAt: number,
): Uint8Array<ArrayBuffer> =>
  concat([
    ...[...files].flatMap(([name, bytes]) => tarEntry(name, bytes, modifiedAt)),
    TAR_END,
  ]);
