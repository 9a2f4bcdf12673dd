/** The configuration of a pull. */
import type { Given } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";

/** What is pulled. */
export interface PullConfig {
  /** Name of a model on the hub (`org/name`), or a folder or tar archive on this machine. */
  readonly source: string;
  /** Branch, tag or commit of the hub's model; default `main`. */
  readonly revision?: string;
  /** Which of several ONNX models, such as `int8`, `q4` or a path; default: the best for the CPU. */
  readonly variant?: string;
  /** Patterns of files to get instead of what a model needs. */
  readonly include?: readonly string[];
  /** Patterns of files to leave out. */
  readonly exclude?: readonly string[];
  /** Folder for plain files, instead of Hugging Face's shared cache. */
  readonly localDir?: string;
  /** Name for what comes from a folder or an archive; default: the source's own name. */
  readonly name?: string;
}

/** The parameters of a {@linkcode PullConfig}. */
export const PULL_PARAMETERS = {
  source: { kind: "text", required: true },
  revision: { kind: "text" },
  variant: { kind: "text" },
  include: { kind: "list" },
  exclude: { kind: "list" },
  localDir: { kind: "text" },
  name: { kind: "text" },
} as const satisfies ParametersOf<PullConfig>;

/** A {@linkcode PullConfig} as a program writes it. */
export type PullInput = Given<PullConfig, "source">;
