/** Opens ONNX Runtime's library: the one that the user names, npm's, or the binary's own. */
import { findLibrary, LOWEST_ORT, openLibrary, type Ort, OrtLoadError } from "../../ffi/mod.ts";
import { fileInMemory } from "../../ffi/libc_files.ts";
import { cacheDirectory } from "../system/cache_directory.ts";
import { buildNotes, CARRIED, carriedPath, findAppended, readRange } from "../system/embedded.ts";
import { type Packed, unpack, type Unpacked } from "../system/unpack.ts";

/** Operations on the copy of a library; replaced in tests. */
export interface Placement {
  /** Folder for permanent copies; `undefined` if the environment names none. */
  readonly cache: string | undefined;
  open(path: string): Ort;
  /** Reports how the user can avoid a slower fallback. */
  note(line: string): void;
}

/** The binary's own library: opened once, because a copy in memory has another path each time. */
let carried: Ort | undefined;

/**
 * Opens ONNX Runtime.
 *
 * @param explicit value of `--ort-lib` or `GRAFT_ORT_LIB`
 * @param note called if the binary's library cannot be stored in a cache
 * @throws {OrtLoadError} if the library is missing, not ONNX Runtime, or too old
 */
export function openOrt(explicit: string | undefined, note: (line: string) => void): Ort {
  if (explicit || !Deno.build.standalone) return openLibrary(findLibrary(explicit));
  return carried ??= openCarried(note);
}

function openCarried(note: (line: string) => void): Ort {
  const place = findAppended(carriedPath(CARRIED.library));
  if (place === undefined) {
    throw new OrtLoadError(
      "This build of graft includes no ONNX Runtime: point ortLib or GRAFT_ORT_LIB at a " +
        `libonnxruntime of release ${LOWEST_ORT} or later`,
      "not found",
    );
  }
  const packed: Packed = {
    name: "libonnxruntime.so.1",
    ...buildNotes().appended[CARRIED.library],
    read: () => readRange(place),
  };
  return openPacked(packed, { cache: cacheDirectory(), open: openLibrary, note });
}

/** Opens a copy, which stays in use until the process ends. */
function openUsed(copy: Unpacked, open: Placement["open"]): Ort {
  try {
    return open(copy.path);
  } catch (error) {
    copy[Symbol.dispose]();
    throw error;
  }
}

/**
 * Opens a library from its copy in the cache, or from memory if there can be no such copy or it cannot
 * be opened; a note reports the cost.
 *
 * @throws {OrtLoadError} if both fail
 */
export function openPacked(packed: Packed, { cache, open, note }: Placement): Ort {
  let reason: string;
  try {
    if (cache === undefined) throw new Error("neither HOME nor XDG_CACHE_HOME is set");
    return openUsed(unpack(cache, packed), open);
  } catch (error) {
    reason = (error as Error).message;
  }
  const place = cache === undefined ? "a cache folder" : cache;
  const remedy = "GRAFT_CACHE_DIR names a folder with room for it, whose files may be executed";
  const path = fileInMemory(packed.name, packed.read() as Uint8Array<ArrayBuffer>);
  if (path === undefined) {
    throw new OrtLoadError(
      `Cannot unpack ONNX Runtime to ${place}, nor into memory: ${reason}: ${remedy}`,
      "cannot open",
    );
  }
  const ort = open(path);
  const megabytes = Math.ceil(packed.sizeBytes / 1e6);
  note(
    `ONNX Runtime cannot be kept in ${place} (${reason}): it takes ${megabytes} MB of memory ` +
      `instead; ${remedy}`,
  );
  return ort;
}
