/**
 * Finds and opens ONNX Runtime's shared library.
 *
 * Only `OrtGetApiBase` is looked up by name; everything else comes from the function table, so one
 * binary of graft works with every release from {@linkcode LOWEST_ORT} on.
 */
import { bindApi, type Ort } from "./api.ts";
import { create } from "./status.ts";
import { keepLoaded } from "./libc.ts";
import { type Handle, readCString } from "./pointer.ts";

/** The oldest supported release: JetPack 6 has 1.18 to 1.23. */
export const LOWEST_ORT = "1.18.0";
/** `ORT_API_VERSION` of that release: the minor part of its version. */
const API_VERSION = 18;

/** Kind of failure to load a library. */
export type LoadFailure = "not found" | "cannot open" | "not this API" | "too old";

/** The library is missing or not usable; the message names the path, the version and the remedy. */
export class OrtLoadError extends Error {
  override name = "OrtLoadError";
  constructor(message: string, readonly kind: LoadFailure, options?: ErrorOptions) {
    super(message, options);
  }
}

const HINT =
  "point ortLib or GRAFT_ORT_LIB at a libonnxruntime of release 1.18 or later, or leave both out for the included one";

const DIRECTORY: Readonly<Record<string, string>> = {
  "x86_64-linux": "linux/x64",
  "aarch64-linux": "linux/arm64",
};

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw error;
  }
}

/**
 * The path of the library to open: `explicit` if given, otherwise the CPU library of the npm package
 * `onnxruntime-node`, in the nearest `node_modules` above this file. A compiled binary embeds that
 * folder under the same relative path.
 *
 * @param explicit value of `ortLib` or `GRAFT_ORT_LIB`
 * @throws {OrtLoadError} `not found`
 */
export function findLibrary(explicit?: string, from = import.meta.dirname): string {
  if (explicit !== undefined && explicit !== "") return explicit;
  const platform = `${Deno.build.arch}-${Deno.build.os}`;
  const directory = DIRECTORY[platform];
  if (directory === undefined || from === undefined) {
    throw new OrtLoadError(
      `graft includes no ONNX Runtime for ${platform}: ${HINT}`,
      "not found",
    );
  }
  const tail = `node_modules/onnxruntime-node/bin/napi-v6/${directory}/libonnxruntime.so.1`;
  for (let folder = from;; folder = folder.slice(0, folder.lastIndexOf("/"))) {
    const path = `${folder}/${tail}`;
    if (isFile(path)) return path;
    if (folder === "") break;
  }
  throw new OrtLoadError(
    `Cannot find ONNX Runtime: no ${tail} in ${from} or above it: run "deno install" in graft's folder, or ${HINT}`,
    "not found",
  );
}

/** Symbols for `Deno.dlopen`; optional, to distinguish "cannot open" and "not this API". */
const BASE = {
  // const OrtApiBase* OrtGetApiBase(void)
  OrtGetApiBase: { parameters: [], result: "pointer", optional: true },
} as const;

const opened = new Map<string, Ort>();

/**
 * Opens the library at `path`, once per path and until the process ends, because its threads make
 * unloading unsafe.
 *
 * @throws {OrtLoadError} `cannot open`, `not this API`, `too old`
 */
export function openLibrary(path: string): Ort {
  const known = opened.get(path);
  if (known !== undefined) return known;
  checkNoPipe(path);
  forbidTelemetry();
  let base: Deno.PointerValue | undefined;
  try {
    base = Deno.dlopen(path, BASE).symbols.OrtGetApiBase?.();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new OrtLoadError(
      `Cannot open ONNX Runtime at "${path}": ${
        reason.replace(/^Could not open library: /, "")
      }: ${HINT}`,
      "cannot open",
      { cause: error },
    );
  }
  if (base === undefined || base === null) {
    throw new OrtLoadError(
      `Cannot use "${path}" as ONNX Runtime: it is a library without OrtGetApiBase: ${HINT}`,
      "not this API",
    );
  }
  keepLoaded(path);
  const ort = bindLibrary(path, base);
  opened.set(path, ort);
  return ort;
}

/** Refuses a pipe, for whose other end the loader would wait forever. */
function checkNoPipe(path: string): void {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch {
    return; // a name that the loader searches, or a path whose problem it reports
  }
  if (info.isFile || info.isDirectory) return;
  throw new OrtLoadError(
    `Cannot open ONNX Runtime at "${path}": it is not a regular file: ${HINT}`,
    "cannot open",
  );
}

/**
 * Builds from npm report usage unless this variable says no. `DisableTelemetryEvents` comes too late:
 * the environment already exists, has created its files in the temporary folder, and may have sent a
 * report.
 */
function forbidTelemetry(): void {
  Deno.env.set("ORT_DISABLE_TELEMETRY", "1");
}

/**
 * Reads an `OrtApiBase`.
 *
 * @throws {OrtLoadError} `too old`
 */
export function bindLibrary(path: string, base: Handle): Ort {
  // struct OrtApiBase { const OrtApi* (*GetApi)(uint32_t version); const char* (*GetVersionString)(); }
  const view = new Deno.UnsafePointerView(base);
  const GetApi = new Deno.UnsafeFnPointer(view.getPointer(0)!, {
    parameters: ["u32"],
    result: "pointer",
  });
  const GetVersionString = new Deno.UnsafeFnPointer(view.getPointer(8)!, {
    parameters: [],
    result: "pointer",
  });
  const version = readCString(GetVersionString.call());
  // GetApi prints an error for versions that it lacks, so the version string is read first.
  const [major, minor] = version.split(".").map(Number);
  const table = major > 1 || minor >= API_VERSION ? GetApi.call(API_VERSION) : null;
  if (table === null) {
    throw new OrtLoadError(
      `ONNX Runtime at "${path}" is release ${version}, too old for graft, which needs ${LOWEST_ORT}: ${HINT}`,
      "too old",
    );
  }
  const api = bindApi(table);
  const allocator = create(api, (out) => api.GetAllocatorWithDefaultOptions(out));
  return { path, version, api, table, allocator };
}
