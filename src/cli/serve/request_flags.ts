/** Flags of what requests over HTTP may do besides asking; the same for `graft serve` and the service. */
import { ADAPTER_WAYS } from "../../http/named_adapter.ts";
import { boolean, integer, list, text, type Values } from "../flags.ts";
import type { RUNTIME_FLAGS } from "../runtime_flags.ts";

const ADAPTERS = "Adapters that requests choose";
const TRAINING = "Fine-tuning by requests";

export const ADAPTER_FLAGS = {
  loraModules: list("Adapters to load, as models under these names", {
    default: [],
    placeholder: "NAME=DIR,…",
    group: ADAPTERS,
  }),
  loraDir: text("Folder that /v1/load_lora_adapter may load adapters from; none if absent", {
    placeholder: "DIR",
    group: ADAPTERS,
  }),
  mergedDir: text("Folder for adapters that are merged in the background; none are if absent", {
    placeholder: "DIR",
    group: ADAPTERS,
  }),
  loraWay: text(
    "How adapters answer with --merged-dir: bound as inputs of the base; merged once a model of " +
      "their own is made; auto: bound at first, then whichever is faster",
    { choices: ADAPTER_WAYS, default: "auto", group: ADAPTERS },
  ),
  maxMerged: integer("Merged models at a time, each in its own memory", {
    default: 1,
    min: 1,
    group: ADAPTERS,
  }),
  loraTargetModules: list(
    "Modules whose adapters can be switched; those of --lora-modules, or all, if absent",
    { default: [], placeholder: "NAME,…", group: ADAPTERS },
  ),
  maxLoraRank: integer("Largest rank of an adapter", { default: 64, min: 1, group: ADAPTERS }),
  maxLoras: integer("Adapters that may be loaded at a time", {
    default: 16,
    min: 1,
    group: ADAPTERS,
  }),
} as const;

export const FINE_TUNING_FLAGS = {
  jobsDir: text("Folder for uploaded files and fine-tuning jobs; none are taken if absent", {
    placeholder: "DIR",
    group: TRAINING,
  }),
  jobMemoryBudget: text("Memory that a fine-tuning job may take in all, e.g. 800M or 2G", {
    placeholder: "SIZE",
    group: TRAINING,
  }),
  maxUpload: integer("Largest uploaded file, in MB", {
    default: 64,
    min: 1,
    max: 1024,
    group: TRAINING,
  }),
} as const;

export const WEBUI_FLAG = boolean("A page for people at /, with no data of its own", {
  default: true,
  group: "Network",
});

/** Flags of a server that requests may change, with those of the runtime. */
export type RequestFlags = Values<
  typeof ADAPTER_FLAGS & typeof FINE_TUNING_FLAGS & typeof RUNTIME_FLAGS
>;
