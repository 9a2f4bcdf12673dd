/** Selects the files of a repository to pull. */
import { BadInputError, UsageError } from "../errors.ts";
import { globExpression } from "./names.ts";
import { chooseVariant, filesOfVariant, type Variant } from "./variants.ts";

/** Selection on the command line. */
export interface Wanted {
  readonly variant?: string;
  /** Patterns of files to pull instead of those that a model needs. */
  readonly include?: readonly string[];
  /** Patterns of files to leave out. */
  readonly exclude?: readonly string[];
}

/** Files that are taken of a repository. */
export interface Selection {
  /** Paths inside the repository. */
  readonly paths: readonly string[];
  /** The chosen ONNX model; absent for adapters and for `include`. */
  readonly variant?: Variant;
}

/** Files of a PEFT adapter, and graft's files beside them. */
const ADAPTER = [
  "adapter_config.json",
  "adapter_model.safetensors",
  "head.safetensors",
  "graft.json",
];

/**
 * Chooses files.
 *
 * @param source the repository's name, for messages
 * @throws {UsageError} for a variant or patterns that match nothing
 * @throws {BadInputError} for a repository that graft cannot use
 */
export function selectFiles(
  paths: readonly string[],
  wanted: Wanted,
  source: string,
): Selection {
  const { include = [], exclude = [] } = wanted;
  const included = include.map(globExpression);
  const excluded = exclude.map(globExpression);
  const kept = (path: string) => !excluded.some((pattern) => pattern.test(path));
  if (include.length > 0 && wanted.variant === undefined) {
    const chosen = paths.filter((path) => included.some((p) => p.test(path)) && kept(path));
    if (chosen.length > 0) return { paths: chosen };
    throw new UsageError((name) =>
      `${source} has no files that match ${name("include", include.join(","))}`
    );
  }
  const variant = chooseVariant(paths, wanted.variant, source);
  if (variant !== undefined) {
    const needed = new Set(filesOfVariant(paths, variant));
    const chosen = paths.filter((path) =>
      (needed.has(path) || included.some((p) => p.test(path))) && kept(path)
    );
    return { paths: chosen, variant };
  }
  if (paths.includes("adapter_config.json")) {
    if (paths.includes("adapter_model.safetensors")) {
      return { paths: paths.filter((path) => ADAPTER.includes(path) && kept(path)) };
    }
    throw new BadInputError(
      `${source} has an adapter without adapter_model.safetensors: graft reads no pickles`,
    );
  }
  throw new BadInputError(
    (name) =>
      `${source} has no ONNX model and no adapter; look for an export of it, such as ` +
      `onnx-community's, or get files with ${name("include")}`,
  );
}
