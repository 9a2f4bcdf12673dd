/**
 * What graft carries with it: in a checkout the files of the repository, in a compiled binary what
 * `deno task compile` put in.
 *
 * Deno shows small files of a binary under the program's own folder, though they lie on no disk, and
 * keeps all of them in memory. Large ones (ONNX Runtime, the model's weights) therefore lie apart, in
 * the program file between the runtime and Deno's own part, where their pages can be mapped.
 */
import { join, relative } from "@std/path";

/** A large file inside the program file. */
export interface Appended {
  /** From the beginning of these files, see {@linkcode appendedStart}; a multiple of {@linkcode PAGE_BYTES}. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** What the compiler noted; a checkout has no such notes. */
export interface BuildNotes {
  /** Commit it was built from, with `+` where files differed from it. */
  readonly commit?: string;
  /** Release of ONNX Runtime that is inside; absent where it was left out. */
  readonly ort?: string;
  /** Large files by their path from the root. */
  readonly appended: Readonly<Record<string, Appended>>;
}

/** Names under which `scripts/compile.ts` places what is no source, from the root. */
export const CARRIED = {
  notes: "build.json",
  library: "lib/libonnxruntime.so.1",
  libraryNotices: "lib/ThirdPartyNotices.txt",
  models: "models",
  /** Of the checkout, too. */
  legal: ["LICENSE", "THIRD_PARTY_NOTICES"],
  packageLicenses: "PACKAGE_LICENSES",
  crateLicenses: "CRATE_LICENSES",
} as const;

/** The largest page that Linux has on these processors: what begins at one can be mapped. */
export const PAGE_BYTES = 65536;

/** Length of an ELF file's header. */
const HEADER_BYTES = 64;

/**
 * Where the large files begin in a program file: behind the runtime, which ends with its section
 * headers.
 *
 * @param elf the program file, or its first 64 bytes
 */
export function appendedStart(elf: Uint8Array): number {
  return Math.ceil(sectionsEnd(elf) / PAGE_BYTES) * PAGE_BYTES;
}

/** Where an ELF file's section headers end: the end of a program to which nothing was joined. */
export function sectionsEnd(elf: Uint8Array): number {
  const view = new DataView(elf.buffer, elf.byteOffset, HEADER_BYTES);
  // e_shoff, e_shentsize, e_shnum of Elf64_Ehdr
  const [size, count] = [view.getUint16(0x3a, true), view.getUint16(0x3c, true)];
  return Number(view.getBigUint64(0x28, true)) + size * count;
}

/** The folder above `src`: the checkout's root, or the binary's. */
const ROOT = join(import.meta.dirname!, "..", "..");

/** Path of something that graft carries, from its root. */
export function carriedPath(...parts: readonly string[]): string {
  return join(ROOT, ...parts);
}

/** Whether a path lies inside the binary, where only Deno can read. */
export function insideBinary(path: string): boolean {
  return Deno.build.standalone && path.startsWith(`${ROOT}/`);
}

let notes: BuildNotes | undefined;

/** The compiler's notes; empty for a checkout. */
export function buildNotes(): BuildNotes {
  if (!Deno.build.standalone) return { appended: {} };
  return notes ??= JSON.parse(Deno.readTextFileSync(carriedPath(CARRIED.notes)));
}

/** A range of a file. */
export interface FileRange {
  readonly file: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Where a large file of the binary lies; `undefined` for other paths. */
export function findAppended(path: string): FileRange | undefined {
  if (!insideBinary(path)) return undefined;
  const entry = buildNotes().appended[relative(ROOT, path)];
  if (entry === undefined) return undefined;
  const file = Deno.execPath();
  const header = readRange({ file, offset: 0, sizeBytes: HEADER_BYTES });
  return { file, offset: appendedStart(header) + entry.offset, sizeBytes: entry.sizeBytes };
}

/** Reads a range of a file into memory. */
export function readRange(
  { file, offset, sizeBytes }: FileRange,
): Uint8Array<ArrayBuffer> {
  using opened = Deno.openSync(file, { read: true });
  opened.seekSync(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(sizeBytes);
  for (let done = 0; done < sizeBytes;) {
    const count = opened.readSync(bytes.subarray(done));
    if (count === null) throw new Error(`${file} is shorter than it was`);
    done += count;
  }
  return bytes;
}
