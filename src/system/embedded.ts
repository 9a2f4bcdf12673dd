/**
 * What graft carries with it: in a checkout the files of the repository, in a compiled binary those
 * that `deno task compile` put in, which Deno shows under the program's own folder though they lie
 * on no disk.
 */
import { join } from "@std/path";

/** A library inside the binary. */
export interface CarriedLibrary {
  /** Release of ONNX Runtime. */
  readonly version: string;
  /** Digest of the file, by which its unpacked copy is named. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** What the compiler noted; a checkout has no such notes. */
export interface BuildNotes {
  /** Commit it was built from, with `+` where files differed from it. */
  readonly commit?: string;
  /** Absent where the library was left out. */
  readonly library?: CarriedLibrary;
}

/** Names under which `scripts/compile.ts` places what is no source, from the root. */
export const CARRIED = {
  notes: "build.json",
  library: "lib/libonnxruntime.so.1",
  models: "models",
} as const;

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

/** The compiler's notes; empty for a checkout. */
export function buildNotes(): BuildNotes {
  if (!Deno.build.standalone) return {};
  return JSON.parse(Deno.readTextFileSync(carriedPath(CARRIED.notes)));
}
