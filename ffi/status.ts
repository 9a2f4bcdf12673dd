/** Converts `OrtStatus`, ONNX Runtime's error report, to an exception. */
import { type Handle, Out, readCString } from "./pointer.ts";
import type { Api } from "./api.ts";

/** Names of `OrtErrorCode`, in its order. */
const CODES = [
  "OK",
  "FAIL",
  "INVALID_ARGUMENT",
  "NO_SUCHFILE",
  "NO_MODEL",
  "ENGINE_ERROR",
  "RUNTIME_EXCEPTION",
  "INVALID_PROTOBUF",
  "MODEL_LOADED",
  "NOT_IMPLEMENTED",
  "INVALID_GRAPH",
  "EP_FAIL",
  "MODEL_LOAD_CANCELED",
  "MODEL_REQUIRES_COMPILATION",
  "NOT_FOUND",
] as const;

/** A name of `OrtErrorCode` without its `ORT_`. */
export type OrtErrorCode = typeof CODES[number] | `UNKNOWN_${number}`;

/** An error that ONNX Runtime reported. */
export class OrtError extends Error {
  override name = "OrtError";
  constructor(message: string, readonly code: OrtErrorCode) {
    super(message);
  }
}

/**
 * Throws an {@linkcode OrtError} unless `status` is null, and releases it. For every call that returns a
 * status.
 */
export function unwrap(api: Api, status: Deno.PointerValue): void {
  if (status === null) return;
  const number = api.GetErrorCode(status);
  const message = readCString(api.GetErrorMessage(status)).trim().replace(/\.$/, "");
  api.ReleaseStatus(status);
  throw new OrtError(message, CODES[number] ?? `UNKNOWN_${number}`);
}

/** Calls a function that writes a handle to its last parameter, and returns the handle. */
export function create(
  api: Api,
  call: (out: BigUint64Array<ArrayBuffer>) => Deno.PointerValue,
): Handle {
  const out = new Out();
  unwrap(api, call(out.cell));
  return out.handle;
}
