/**
 * Files that come with graft: in a checkout the files of the repository, in a compiled binary those that
 * `deno task compile` included.
 *
 * Deno shows small files of a binary under the program's own folder, although they are on no disk, and
 * keeps all of them in memory. Large ones (ONNX Runtime, the model's weights, what draws pictures) are therefore stored
 * separately, in the program file between the runtime and Deno's own part, where their pages can be
 * mapped.
 */
import { join, relative } from "@std/path";
import { readAt } from "./read_at.ts";

/** A large file inside the program file. */
export interface Appended {
  /** From the beginning of these files, see {@linkcode appendedStart}; a multiple of {@linkcode PAGE_BYTES}. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** Notes of the compile script; a checkout has none. */
export interface BuildNotes {
  /** Commit it was built from, with `+` if files differed from it. */
  readonly commit?: string;
  /** Release of the included ONNX Runtime; absent if there is none. */
  readonly ort?: string;
  /** Large files by their path from the root. */
  readonly appended: Readonly<Record<string, Appended>>;
}

/** Paths, from the root, at which `scripts/compile.ts` stores files that are not source. */
export const CARRIED = {
  notes: "build.json",
  library: "lib/libonnxruntime.so.1",
  libraryNotices: "lib/ThirdPartyNotices.txt",
  models: "models",
  /** In the checkout too. */
  legal: ["LICENSE", "THIRD_PARTY_NOTICES"],
  /** The files of the page of `graft serve`, as JSON by their path in a request. */
  page: "page.json",
  /** What draws pictures, in the checkout's packages too. */
  renderer: "node_modules/@resvg/resvg-wasm/index_bg.wasm",
  font: "node_modules/dejavu-fonts-ttf/ttf/DejaVuSans.ttf",
  packageLicenses: "PACKAGE_LICENSES",
  crateLicenses: "CRATE_LICENSES",
} as const;

/** The largest page size of Linux on these processors: data at a multiple of it can be mapped. */
export const PAGE_BYTES = 65536;

/** Length of an ELF file's header. */
const HEADER_BYTES = 64;

/**
 * Offset of the large files in a program file: after the runtime, which ends with its section headers.
 *
 * @param elf the program file, or its first 64 bytes
 */
export function appendedStart(elf: Uint8Array): number {
  return Math.ceil(sectionsEnd(elf) / PAGE_BYTES) * PAGE_BYTES;
}

/** End of an ELF file's section headers, which is the end of a program without appended data. */
export function sectionsEnd(elf: Uint8Array): number {
  const view = new DataView(elf.buffer, elf.byteOffset, HEADER_BYTES);
  // e_shoff, e_shentsize, e_shnum of Elf64_Ehdr
  const [size, count] = [view.getUint16(0x3a, true), view.getUint16(0x3c, true)];
  return Number(view.getBigUint64(0x28, true)) + size * count;
}

/** The folder above `src`: the checkout's root, or the binary's. */
const ROOT = join(import.meta.dirname!, "..", "..");

/** Path of an included file, from its path relative to the root. */
export function carriedPath(...parts: readonly string[]): string {
  return join(ROOT, ...parts);
}

/** Whether a path is inside the binary, where only Deno can read. */
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

/** Range of a large file in the binary; `undefined` for other paths. */
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
  const bytes = new Uint8Array(sizeBytes);
  if (readAt(opened, offset, bytes) < sizeBytes) throw new Error(`${file} is shorter than it was`);
  return bytes;
}
