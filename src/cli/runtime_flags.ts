/** The flags of every verb that runs a model, and the runner they describe. */
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import { integer, list, text, type Values } from "./flags.ts";

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

/** The flags as another process of graft takes them. */
export function runtimeArguments(
  { ep, epOption, ortLib, threads }: Values<typeof RUNTIME_FLAGS>,
): readonly string[] {
  return [
    ...["--ep", ep.join(), ...epOption.flatMap((option) => ["--ep-option", option])],
    ...(ortLib === undefined ? [] : ["--ort-lib", ortLib]),
    ...(threads === undefined ? [] : ["--threads", `${threads}`]),
  ];
}
