/** Flags of what a merge measures. */
import { MEASURING_PARAMETERS as P } from "../../tasks/measuring.ts";
import { boolean, integer, number, text } from "../flags.ts";

const group = "Measuring";

/** What to measure a merge with, and how long. */
export const MEASURING_FLAGS = {
  data: text("Data to steer and measure with; what the adapter was trained on if absent", {
    placeholder: "PATH",
    group,
  }),
  minGainKept: number(
    "Share of the adapter's gain on held-out data to aim at; refused below 0.9",
    { ...P.minGainKept, group },
  ),
  valBatches: integer("Held-out batches to evaluate on, at least 1; -1 for all", {
    ...P.valBatches,
    group,
  }),
  calibrationTokens: integer("Training tokens whose activations steer compensated rounding", {
    ...P.calibrationTokens,
    group,
  }),
  tuneSteps: integer("Updates of the scales in a round of tuning, of at most 3; 0 tunes none", {
    ...P.tuneSteps,
    group,
  }),
  timeBudget: number(
    "Seconds after which no other way is tried, once there is one to write; 0 for no limit",
    { ...P.timeBudget, group },
  ),
  latency: boolean("Time the merged model against the base", { ...P.latency, group }),
};
