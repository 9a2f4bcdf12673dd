/** Flags of `graft rank-search`: those of `graft train` for every trial, and its own. */
import { ofTrials, RANK_SEARCH_PARAMETERS as P } from "../../tasks/rank_search/settings.ts";
import { boolean, integer, list, text } from "../flags.ts";
import { TRAIN_FLAGS } from "./train_flags.ts";

const SEARCH = "Search";
const SAVING = "Saving and resuming";

export const RANK_SEARCH_FLAGS = {
  ...ofTrials(TRAIN_FLAGS),
  seed: integer("The first seed", { ...P.seed, group: "Training" }),
  valBatches: integer("Validation batches per evaluation; -1 for all", {
    ...P.valBatches,
    group: "Evaluation and reports",
  }),
  ranks: list("Ranks to try, in ascending order", {
    default: ["1", "2", "4", "8", "16", "32", "64"],
    placeholder: "NUMBERS",
    group: SEARCH,
  }),
  targetSets: list(
    "Modules to try instead of --target-modules, with as many parameters; once for each set, as " +
      "--target-sets q --target-sets q,v,k,o; if absent q, then q,v, attention and all-linear",
    { ...P.targetSets, placeholder: "NAMES", group: SEARCH },
  ),
  perLayer: boolean(
    "Try ranks by layer, too: as many parameters, where the gradient of the loss has the largest " +
      "singular values",
    { ...P.perLayer, group: SEARCH },
  ),
  seeds: integer("Trainings of each candidate, with seeds from --seed on", {
    ...P.seeds,
    group: SEARCH,
  }),
  metric: text("What to compare; auto is accuracy where the task has it, else loss", {
    ...P.metric,
    group: SEARCH,
  }),
  halving: boolean(
    "Leave candidates that are behind after part of the steps, and larger ranks where they no longer " +
      "help; --no-halving trains every candidate to its end",
    { ...P.halving, group: SEARCH },
  ),
  halvingFactor: integer("One candidate in this many goes on, for this many times the steps", {
    ...P.halvingFactor,
    placeholder: "N",
    group: SEARCH,
  }),
  adapterBudget: text("Largest adapter to try, e.g. 500K", {
    ...P.adapterBudget,
    placeholder: "SIZE",
    group: SEARCH,
  }),
  timeBudget: text("How long to search, e.g. 90m or 8h; what is known by then is reported", {
    ...P.timeBudget,
    placeholder: "TIME",
    group: SEARCH,
  }),
  keep: integer("Candidates whose adapter is kept, the best ones", { ...P.keep, group: SEARCH }),
  savePath: text("Folder of the search", { ...P.savePath, placeholder: "DIR", group: SAVING }),
  resume: boolean(
    "Go on with the search in --save-path, without --config with the settings that it began with",
    { ...P.resume, group: SAVING },
  ),
  overwrite: boolean("Drop an earlier search in --save-path", { ...P.overwrite, group: SAVING }),
  json: boolean("Print the result as JSON", { default: false, inFile: false }),
} as const;
