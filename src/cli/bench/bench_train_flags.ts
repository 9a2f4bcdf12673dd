/** Flags of `graft bench train`. */
import { JSON_FLAG, MODEL_FLAG } from "./bench_flags.ts";
import { boolean, integer, list, number, text, type Values } from "../flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { TRAIN_FLAGS } from "../train/train_flags.ts";

const SWEEP = "Swept over (several, with commas)";

export const BENCH_TRAIN_FLAGS = {
  model: MODEL_FLAG,
  data: text("Data to train on, as for graft train; random tokens if absent", {
    placeholder: "PATH",
  }),
  batchSize: list("Rows per batch", {
    default: ["4"],
    placeholder: "NUMBERS",
    aliases: ["batch"],
    group: SWEEP,
  }),
  length: list("Tokens per row; with --data the longest row that is not cut", {
    default: ["256"],
    placeholder: "NUMBERS",
    aliases: ["maxSeqLength"],
    group: SWEEP,
  }),
  rank: list("Rank of the adapter", {
    short: "r",
    default: ["8"],
    placeholder: "NUMBERS",
    group: SWEEP,
  }),
  numLayers: list("Layers to adapt, the last ones; -1 for all", {
    default: ["-1"],
    placeholder: "NUMBERS",
    group: SWEEP,
  }),
  targetModules: TRAIN_FLAGS.targetModules,
  loraDropout: TRAIN_FLAGS.loraDropout,
  steps: integer("Steps to time, after two that are left out", { default: 6, min: 1 }),
  targetShare: number("Share of random tokens whose prediction counts", {
    default: 0.25,
    min: 0,
    max: 1,
  }),
  numeric: TRAIN_FLAGS.numeric,
  gradCheckpoint: TRAIN_FLAGS.gradCheckpoint,
  memoryBudget: TRAIN_FLAGS.memoryBudget,
  profile: boolean(
    "Also time each operator, by ONNX Runtime's profiles, which cost a little speed",
  ),
  json: JSON_FLAG,
  ...RUNTIME_FLAGS,
} as const;

export type BenchTrainFlags = Values<typeof BENCH_TRAIN_FLAGS>;
