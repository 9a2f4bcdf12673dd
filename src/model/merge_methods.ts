/** Which ways of merging are worth trying for a base, its data and the runtime that will measure them. */
import { RuntimeFailure, UsageError } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import type { AdapterChanges, MergeMethod, ModuleChange } from "../lora/merge/mod.ts";
import { indexGraph } from "../lora/graph_index.ts";
import { findModules, type LinearModule } from "../lora/modules.ts";
import { hasScales } from "../lora/scale_adapter.ts";
import { EIGHT_BITS_SINCE, isBefore } from "../runtime/release_limits.ts";
import type { Runner } from "../runtime/runner.ts";

export interface MethodsRequest {
  readonly base: Model;
  /** The one that was asked for; absent: all that differ for this base. */
  readonly method?: MergeMethod;
  /** Whether there is data to steer and measure with. */
  readonly measured: boolean;
  /** Whether scales can be tuned on that data. */
  readonly tunes?: boolean;
  /** Whether adapted matrices may move to 8 bits where their own keep too little. */
  readonly allowLarger?: boolean;
  /** Told of a way that is left out. */
  readonly onNote?: (text: string) => void;
}

/**
 * The ways to try, in the order of what they take: the first that keeps enough ends the search.
 *
 * @throws {UsageError} where the method that was asked for needs data, or no way is safe without
 * @throws {RuntimeFailure} where it makes a model that the runtime cannot run
 */
export function methodsFor(
  runner: Pick<Runner, "version">,
  { base, method, measured, tunes = false, allowLarger = false, onNote }: MethodsRequest,
  { changes }: AdapterChanges,
): readonly MergeMethod[] {
  if ((method === "compensated" || method === "tuned") && !measured) {
    const what = method === "tuned" ? "Tuning scales" : "Error-compensated rounding";
    throw new UsageError(
      (name) =>
        `${what} needs the training data: name it with ${name("data")}, or choose another ` +
        name("method"),
    );
  }
  // Only what is beside the weights is written: nothing is rounded.
  if (changes.length === 0) return [method ?? "nearest"];
  const paths = new Set(changes.map(({ path }) => path));
  const adapted = findModules(base).filter((module) => paths.has(module.path));
  const missing = noEightBits(runner, adapted);
  const coded = adapted.find(({ codebook }) => codebook !== undefined);
  const narrow = adapted.some(widens);
  if (changes.every(isOfScales)) {
    if (method === undefined || method === "float") return [method ?? "scales"];
    throw new UsageError(
      (name) =>
        `An adapter of scales is merged exactly, without rounding: current ${name("method")} is ` +
        `${method}; leave it out`,
    );
  }
  if (method !== undefined) {
    if (method === "8bit" && missing !== undefined) throw refused(missing);
    if (method === "8bit" && coded !== undefined && !narrow) throw noWideCodes(coded);
    return [method];
  }
  const wide = allowLarger && narrow;
  if (!measured) {
    // Rounding to nearest in 4 bits may lose everything, which only data could show.
    if (wide && missing !== undefined) throw refused(missing);
    if (coded !== undefined) throw unmeasured(coded, false);
    if (narrow && !wide) throw unmeasured(adapted.find(widens)!, true);
    return [wide ? "8bit" : "nearest"];
  }
  const quantised = adapted.some(({ scales }) => scales !== undefined);
  if (!quantised) return ["nearest"];
  if (wide && missing !== undefined) onNote?.(missing);
  const index = indexGraph(base.graph);
  const tunable = tunes && adapted.some((module) => hasScales(index, module));
  return [
    "nearest",
    // Quicker than error-compensated rounding, and it was seen to keep more.
    ...tunable ? ["tuned"] as const : [],
    "compensated",
    ...wide && missing === undefined ? ["8bit"] as const : [],
  ];
}

/** Whether a change leaves the codes as they are. */
const isOfScales = ({ updates, weight, scaleUpdates = [] }: ModuleChange) =>
  scaleUpdates.length > 0 && updates.length === 0 && weight === undefined;

/** Whether a layer's weight can have 8 bits instead of fewer. */
const widens = ({ bits, codebook }: LinearModule) => bits < 8 && codebook === undefined;

function noWideCodes({ path, codebook, node }: LinearModule): UsageError {
  return new UsageError(
    (name) =>
      `Cannot merge "${path}" at 8 bits: ${node.opType} has ${codebook} in 4 bits only: choose ` +
      `${name("method", "nearest")} or compensated, or ${name("method", "float")}`,
  );
}

function unmeasured({ path, codebook, bits }: LinearModule, widens: boolean): UsageError {
  return new UsageError(
    (name) =>
      `Cannot merge into "${path}" without data: rounding to ${
        codebook ?? `${bits} bits`
      } may lose what was trained, which only data shows: name the training data with ` +
      `${name("data")}, or choose ${name("method", "nearest")}, ${
        widens ? `${name("allowLarger")} ` : ""
      }or ${name("method", "float")}`,
  );
}

/** Why the adapted matrices cannot be merged at 8 bits, where the runtime could not run them. */
function noEightBits(
  { version }: Pick<Runner, "version">,
  adapted: readonly LinearModule[],
): string | undefined {
  const widened = adapted.find(({ node, bits }) => node.opType === "MatMulNBits" && bits < 8);
  if (widened === undefined || !isBefore(version, EIGHT_BITS_SINCE)) return undefined;
  return `Cannot merge "${widened.path}" at 8 bits: MatMulNBits has them since ONNX Runtime ${
    EIGHT_BITS_SINCE.join(".")
  }: current value is ${version.join(".")}`;
}

function refused(why: string): RuntimeFailure {
  return new RuntimeFailure(
    (name) =>
      `${why}: choose another ${name("method")}, or point ${
        name("ortLib")
      } or GRAFT_ORT_LIB at a ` +
      "later release",
  );
}
