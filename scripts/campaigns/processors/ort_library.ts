import { ROOT } from "../../bench/context.ts";
import type { Kind } from "./ways.ts";

/** Path of the ONNX Runtime that graft, run from this checkout, loads on Linux of an architecture. */
export function ortLibraryFor(arch: Kind["arch"]): string {
  return `${ROOT}node_modules/onnxruntime-node/bin/napi-v6/linux/${arch}/libonnxruntime.so.1`;
}
