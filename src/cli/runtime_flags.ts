/** The flags of every verb that runs a model, and the runner they describe. */
import { createOrtRunner } from "../runtime/ort_runner.ts";
import type { Runner } from "../runtime/runner.ts";
import { integer, text, type Values } from "./flags.ts";

export const RUNTIME_FLAGS = {
  ortLib: text("libonnxruntime to use instead of the one graft brings (also GRAFT_ORT_LIB)", {
    placeholder: "FILE",
    group: "Runtime",
  }),
  threads: integer("Threads of ONNX Runtime; all cores if absent", {
    min: 1,
    short: "t",
    group: "Runtime",
  }),
} as const;

/**
 * Opens ONNX Runtime as the flags ask; `GRAFT_ORT_LIB` says what `--ort-lib` does not.
 *
 * @throws {RuntimeFailure} the library is missing, not ONNX Runtime, or too old
 */
export function openRunner(flags: Values<typeof RUNTIME_FLAGS>): Runner {
  const ortLib = flags.ortLib ?? Deno.env.get("GRAFT_ORT_LIB");
  return createOrtRunner({ ortLib, threads: flags.threads, note: (line) => console.error(line) });
}
