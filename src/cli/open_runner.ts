/** Opens ONNX Runtime as flags say; its notes go to standard error. */
import type { Message } from "../errors.ts";
import * as library from "../runtime/open_runner.ts";
import type { RunnerPurpose } from "../runtime/open_runner.ts";
import type { Runner } from "../runtime/runner.ts";
import type { Values } from "./flags.ts";
import { inFlags } from "./parameter_names.ts";
import type { RUNTIME_FLAGS } from "./runtime_flags.ts";
import { printable } from "./terminal/printable.ts";

/** Notes of the runtime go to standard error. */
export const noteOfRuntime = (message: Message) => console.error(printable(inFlags(message)));

/** Opens ONNX Runtime as the flags ask. */
export function openRunner(
  flags: Values<typeof RUNTIME_FLAGS>,
  purpose: Pick<RunnerPurpose, "modelBytes"> = {},
): Runner {
  return library.openRunner(flags, { ...purpose, onNote: noteOfRuntime });
}
