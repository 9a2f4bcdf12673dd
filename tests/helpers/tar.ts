/** Writes tars, unsound ones too. */
import { concat } from "@std/bytes/concat";

/** An entry of an archive; `type` is ustar's letter, a file's if absent. */
export interface TarEntry {
  readonly name: string;
  readonly content?: Uint8Array;
  readonly type?: string;
  readonly link?: string;
  /** Says so many bytes instead of the content's. */
  readonly size?: number;
}

const BLOCK = 512;

/** The bytes of a ustar archive. Source: POSIX.1-2017, ustar interchange format. */
export function tarOf(...entries: readonly TarEntry[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (const { name, content = new Uint8Array(), type = "0", link = "", size } of entries) {
    const header = new Uint8Array(BLOCK);
    const put = (at: number, text: string) => header.set(new TextEncoder().encode(text), at);
    put(0, name);
    put(100, "0000644\0");
    put(124, (size ?? content.length).toString(8).padStart(11, "0") + "\0");
    put(148, "        ");
    put(156, type);
    put(157, link);
    put(257, "ustar\x0000");
    const sum = header.reduce((all, byte) => all + byte, 0);
    put(148, sum.toString(8).padStart(6, "0") + "\0 ");
    const padded = new Uint8Array(Math.ceil(content.length / BLOCK) * BLOCK);
    padded.set(content);
    parts.push(header, padded);
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return concat(parts);
}
