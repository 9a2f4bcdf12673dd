/** Small trainings of the library that are interrupted, and what they leave. */
import { join } from "@std/path";
import { fineTune, type FineTuneEvent, type FineTuneInput } from "../../src/finetune/mod.ts";
import { sha256 } from "./training_runs.ts";

/** Trains until a step has ended, as a signal does it. */
export async function trainTo(step: number, input: FineTuneInput) {
  const stop = new AbortController();
  const onEvent = (event: FineTuneEvent) => {
    if (event.kind === "step" && event.step === step) stop.abort();
  };
  return await fineTune(input, { signal: stop.signal, onEvent });
}

/** SHA-256 of the adapter's tensors that a tiny training left in its folder. */
export const digestIn = (folder: string): Promise<string> =>
  sha256(join(folder, "adapter", "adapter_model.safetensors"));
