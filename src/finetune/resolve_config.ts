/** From a program's input to a configuration that training can start with. */
import { wholeConfig } from "../config/given.ts";
import { parseSize } from "../config/size.ts";
import { ParameterError, UsageError } from "../errors.ts";
import { checkAdapterName } from "../hub/adapter_store.ts";
import { parseLayers } from "../lora/mod.ts";
import { conflictOf, METHODS } from "../lora/peft_type.ts";
import { windowGate } from "../train/pause.ts";
import { checkStart } from "./check_start.ts";
import type { FineTuneConfig, FineTuneInput } from "./config.ts";
import { FINE_TUNE_PARAMETERS } from "./parameters.ts";
import { prefixCacheBytes } from "./prefix_cache.ts";

/**
 * Fills in the defaults and checks every value, by itself and against the others.
 *
 * @throws {ParameterError} naming the parameter that is unknown, missing, of another type, out of range, not
 * one of the choices, or in contradiction to another
 *
 * @example
 * ```ts
 * import { resolveConfig } from "./resolve_config.ts";
 *
 * const config = resolveConfig({ model: "default", data: "quickstart", rank: 4 });
 * console.log(config.learningRate);
 * ```
 */
export function resolveConfig(input: FineTuneInput): FineTuneConfig {
  const given = wholeConfig<FineTuneConfig>(FINE_TUNE_PARAMETERS, input);
  // As in PEFT, whose optimiser freezes A itself.
  const config = given.optimizer === "lorafa" ? { ...given, freezeA: true } : given;
  checkConfig(config);
  return config;
}

/**
 * Refuses what neither model nor data could remedy.
 *
 * @throws {ParameterError} naming the parameter
 */
export function checkConfig(config: FineTuneConfig): void {
  if (config.useDora && !config.adapterType.includes("lora")) {
    throw new ParameterError(
      "useDora",
      (name) =>
        `${name("useDora", true)} trains magnitudes beside LoRA's matrices, which an adapter of ` +
        `other types have not: current value of ${name("adapterType")} is ${config.adapterType}`,
    );
  }
  if (config.bias !== "none" && !config.adapterType.includes("lora")) {
    throw new ParameterError(
      "bias",
      (name) =>
        `${name("bias", config.bias)} trains biases beside LoRA: current value of ` +
        `${name("adapterType")} is ${config.adapterType}; ${name("adapterType", "bitfit")} ` +
        "trains biases alone",
    );
  }
  checkMethods(config);
  about("saveAs", config.saveAs, checkAdapterName);
  if (!config.train && !config.test) {
    throw new ParameterError(
      "train",
      (name) => `There is nothing to do: ${name("train", false)} needs ${name("test", true)}`,
    );
  }
  about("prefixCache", config.prefixCache, prefixCacheBytes);
  about("memoryBudget", config.memoryBudget, (size) => parseSize(size, "memoryBudget"));
  checkLength(config);
  about("window", config.window, windowGate);
  about("layers", config.layers, parseLayers);
  checkStart(config);
  checkLorafa(config);
}

function checkMethods({ adapterType, loraDropout }: FineTuneConfig): void {
  if (adapterType.length === 0) {
    throw new ParameterError(
      "adapterType",
      (name) => `${name("adapterType")} must name a method: ${METHODS.join(", ")}`,
    );
  }
  const conflict = conflictOf(adapterType);
  if (conflict !== undefined) {
    throw new ParameterError(
      "adapterType",
      (name) => `${name("adapterType")} cannot combine ${conflict.join(" with ")}`,
    );
  }
  if (loraDropout === 0 || adapterType.includes("lora")) return;
  throw new ParameterError(
    "loraDropout",
    (name) =>
      `${name("loraDropout")} drops inputs of LoRA's matrices, which ${
        name("adapterType", adapterType.join(","))
      } has not: current value is ${loraDropout}`,
  );
}

/** LoRA-FA corrects the gradients of plain LoRA's B, all of which take one step. */
function checkLorafa({ optimizer, adapterType, loraplusLrRatio, useDora }: FineTuneConfig): void {
  if (optimizer !== "lorafa") return;
  if (!adapterType.includes("lora")) {
    throw new ParameterError(
      "optimizer",
      (name) =>
        `${name("optimizer", "lorafa")} trains B of LoRA: current value of ` +
        `${name("adapterType")} is ${adapterType.join(",")}`,
    );
  }
  if (useDora) {
    throw new ParameterError(
      "useDora",
      (name) =>
        `${name("optimizer", "lorafa")} corrects the gradient of plain LoRA, which ` +
        `${name("useDora", true)} scales by rows: ${name("freezeA", true)} trains DoRA without A`,
    );
  }
  if (loraplusLrRatio === undefined) return;
  throw new ParameterError(
    "loraplusLrRatio",
    (name) =>
      `${name("loraplusLrRatio")} is B's learning rate relative to A's, which ` +
      `${name("optimizer", "lorafa")} does not train: leave it out`,
  );
}

/** Checks a value if there is one; a failure becomes an error of its parameter. */
function about<T>(parameter: string, value: T | undefined, check: (value: T) => unknown): void {
  if (value === undefined) return;
  try {
    check(value);
  } catch (cause) {
    if (!(cause instanceof UsageError) || cause instanceof ParameterError) throw cause;
    throw new ParameterError(parameter, (name) => cause.worded(name), { cause });
  }
}

function checkLength({ epochs, iters }: FineTuneConfig): void {
  if (iters === undefined || epochs === undefined) return;
  throw new ParameterError(
    "epochs",
    (name) =>
      `Give ${name("epochs")} or ${name("iters")}, not both: current values are ${epochs} and ` +
      iters,
  );
}
