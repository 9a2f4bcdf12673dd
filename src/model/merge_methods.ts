/** Which ways of merging are worth trying for a base, its data and the runtime that will measure them. */
import { RuntimeFailure, UsageError } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import type { AdapterChanges, MergeMethod } from "../lora/merge/mod.ts";
import { findModules, type LinearModule } from "../lora/modules.ts";
import { EIGHT_BITS_SINCE, isBefore } from "../runtime/release_limits.ts";
import type { Runner } from "../runtime/runner.ts";

export interface MethodsRequest {
  readonly base: Model;
  /** The one that was asked for; absent: all that differ for this base. */
  readonly method?: MergeMethod;
  /** Whether there is data to steer and measure with. */
  readonly measured: boolean;
  /** Told of a way that is left out. */
  readonly onNote?: (text: string) => void;
}

/**
 * The ways to try, in the order of their sizes.
 *
 * @throws {UsageError} where the method that was asked for needs data
 * @throws {RuntimeFailure} where it makes a model that the runtime cannot run
 */
export function methodsFor(
  runner: Pick<Runner, "version">,
  { base, method, measured, onNote }: MethodsRequest,
  { changes }: AdapterChanges,
): readonly MergeMethod[] {
  if (method === "compensated" && !measured) {
    throw new UsageError(
      "Error-compensated rounding needs the training data: name it with --data, or choose another --method",
    );
  }
  const paths = new Set(changes.map(({ path }) => path));
  const adapted = findModules(base).filter((module) => paths.has(module.path));
  const missing = noEightBits(runner, adapted);
  const coded = adapted.find(({ codebook }) => codebook !== undefined);
  const narrow = adapted.some(widens);
  if (method !== undefined) {
    if (method === "8bit" && missing !== undefined) throw refused(missing);
    if (method === "8bit" && coded !== undefined && !narrow) throw noWideCodes(coded);
    return [method];
  }
  if (!measured) {
    // Rounding to nearest in 4 bits may lose everything, which only data could show.
    if (narrow && missing !== undefined) throw refused(missing);
    if (coded !== undefined) throw unmeasured(coded);
    return [narrow ? "8bit" : "nearest"];
  }
  if (adapted.every(({ scales }) => scales === undefined)) return ["nearest"];
  if (!narrow) return ["nearest", "compensated"];
  if (missing === undefined) return ["nearest", "compensated", "8bit"];
  onNote?.(missing);
  return ["nearest", "compensated"];
}

/** Whether a layer's weight can have 8 bits instead of fewer. */
const widens = ({ bits, codebook }: LinearModule) => bits < 8 && codebook === undefined;

function noWideCodes({ path, codebook, node }: LinearModule): UsageError {
  return new UsageError(
    `Cannot merge "${path}" at 8 bits: ${node.opType} has ${codebook} in 4 bits only: choose --method ` +
      "nearest or compensated, or --dequantize",
  );
}

function unmeasured({ path, codebook }: LinearModule): UsageError {
  return new UsageError(
    `Cannot merge into "${path}" without data: rounding to ${codebook} may lose what was trained, which ` +
      "only data shows: name the training data with --data, or choose --method nearest, or --dequantize",
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
    `${why}: choose another --method, or point --ort-lib or GRAFT_ORT_LIB at a later release`,
  );
}
