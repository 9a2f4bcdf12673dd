/** The parameters that say which ONNX Runtime is used, and how, for configurations that have them. */
import type { ParametersOf } from "../config/parameter.ts";
import type { RuntimeOptions } from "./open_runner.ts";

export const RUNTIME_PARAMETERS = {
  ortLib: { kind: "text" },
  ep: { kind: "list", default: ["auto"] },
  epOption: { kind: "list", default: [], verbatim: true },
  threads: { kind: "integer", min: 1 },
} as const satisfies ParametersOf<RuntimeOptions>;
