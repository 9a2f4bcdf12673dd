/** The flags of every verb that runs a model, and the runner they describe. */
import type { Message } from "../errors.ts";
import * as library from "../runtime/open_runner.ts";
import type { RunnerPurpose } from "../runtime/open_runner.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import type { Runner } from "../runtime/runner.ts";
import { integer, list, text, type Values } from "./flags.ts";
import { inFlags } from "./parameter_names.ts";
import { printable } from "./terminal/printable.ts";

const P = RUNTIME_PARAMETERS;

export const RUNTIME_FLAGS = {
  ortLib: text("libonnxruntime to use instead of the included one (also GRAFT_ORT_LIB)", {
    placeholder: "FILE",
    group: "Runtime",
  }),
  ep: list(
    "Execution providers in order, the next where one cannot be used: auto, cpu, cuda, tensorrt, " +
      "or a name that ONNX Runtime lists; auto is cuda where it can be used, else cpu",
    { ...P.ep, placeholder: "NAME,…", group: "Runtime" },
  ),
  epOption: list(
    "Option of the first provider, in ONNX Runtime's names, as gpu_mem_limit=2000000000; " +
      "trt_… goes to tensorrt, NAME:KEY=VALUE to the one named; may be given several times",
    { ...P.epOption, placeholder: "KEY=VALUE", group: "Runtime" },
  ),
  threads: integer("Threads of ONNX Runtime; all cores if absent", {
    ...P.threads,
    short: "t",
    group: "Runtime",
  }),
} as const;

/** Notes of the runtime go to standard error. */
export const noteOfRuntime = (message: Message) => console.error(printable(inFlags(message)));

/** Opens ONNX Runtime as the flags ask. */
export function openRunner(
  flags: Values<typeof RUNTIME_FLAGS>,
  purpose: Pick<RunnerPurpose, "modelBytes"> = {},
): Runner {
  return library.openRunner(flags, { ...purpose, onNote: noteOfRuntime });
}

/** The providers as another process of graft takes them. */
export function providerArguments(
  { ep, epOption }: Pick<Values<typeof RUNTIME_FLAGS>, "ep" | "epOption">,
): readonly string[] {
  return ["--ep", ep.join(), ...epOption.flatMap((option) => ["--ep-option", option])];
}
