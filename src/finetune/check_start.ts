/** Checks what a configuration says about an adapter's initial values, before any model is read. */
import { ParameterError } from "../errors.ts";
import { parseLoraStart } from "../lora/start.ts";
import type { FineTuneConfig } from "./config.ts";

/**
 * Refuses an unknown start, one that only LoRA can have, and one without the model in floats
 * that it needs, or with one that nothing reads.
 *
 * @throws {ParameterError} naming the parameter
 */
export function checkStart(
  { adapterType, initLoraWeights, loftqModel }: Pick<
    FineTuneConfig,
    "adapterType" | "initLoraWeights" | "loftqModel"
  >,
): void {
  const { from } = parseLoraStart(initLoraWeights);
  if (from !== "random" && !adapterType.includes("lora")) {
    throw new ParameterError(
      "initLoraWeights",
      (name) =>
        `${name("initLoraWeights", initLoraWeights)} starts matrices beside the weights, which ` +
        `${name("adapterType", adapterType.join(","))} has not`,
    );
  }
  if ((from === "loftq") === (loftqModel !== undefined)) return;
  throw new ParameterError(
    "loftqModel",
    (name) =>
      from === "loftq"
        ? `${name("initLoraWeights", "loftq")} needs the model before it was quantised: give ` +
          name("loftqModel")
        : `${name("loftqModel")} is only read by ${name("initLoraWeights", "loftq")}: current ` +
          `value is ${initLoraWeights}`,
  );
}
