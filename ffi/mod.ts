/** ONNX Runtime's C API through Deno's FFI. Only `src/runtime` uses it. */
export type { Ort } from "./api.ts";
export { type AssignedNode, assignedNodes, RECORD_ASSIGNMENT } from "./assignment.ts";
export { canFlushDenormals } from "./denormals.ts";
export {
  availableProviders,
  deviceMemory,
  Environment,
  type EnvironmentOptions,
} from "./environment.ts";
export { IoBinding } from "./io_binding.ts";
export { findLibrary, LOWEST_ORT, openLibrary, OrtLoadError } from "./library.ts";
export { type ModelMetadata, modelMetadata } from "./metadata.ts";
export { Pins } from "./pinned.ts";
export { addressOf, cStrings } from "./pointer.ts";
export { type Provider, shareArena, tryProvider } from "./providers.ts";
export { type Earlier, encodeLists, type NativeRun } from "./run_lists.ts";
export { RunConfiguration } from "./run_options.ts";
export { RunThreads } from "./run_threads.ts";
export { type Names, type Port, Session } from "./session.ts";
export type { SessionSettings } from "./session_options.ts";
export { OrtError } from "./status.ts";
export type { TensorInfo } from "./type_info.ts";
export { OrtValue } from "./value.ts";
