/** Flags of `graft bench methods`. */
import { BENCH_METHOD_NAMES, USUAL_BENCH_METHODS } from "../../bench/methods.ts";
import { integer, list, map, text, type Values } from "../flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { TRAIN_FLAGS } from "../train/train_flags.ts";
import { JSON_FLAG, MODEL_FLAG } from "./bench_flags.ts";

const TRAINING = "Training of each method";
const TIMING = "Timing";

export const BENCH_METHODS_FLAGS = {
  model: MODEL_FLAG,
  data: { ...TRAIN_FLAGS.data, group: TRAINING },
  validationSplit: { ...TRAIN_FLAGS.validationSplit, group: TRAINING },
  methods: list("What to compare with the base", {
    choices: BENCH_METHOD_NAMES,
    default: USUAL_BENCH_METHODS,
    placeholder: "NAMES",
  }),
  iters: integer("Steps", { default: 100, min: 1, group: TRAINING }),
  batchSize: { ...TRAIN_FLAGS.batchSize, group: TRAINING },
  maxSeqLength: { ...TRAIN_FLAGS.maxSeqLength, group: TRAINING },
  rank: { ...TRAIN_FLAGS.rank, group: TRAINING },
  loraAlpha: { ...TRAIN_FLAGS.loraAlpha, group: TRAINING },
  targetModules: { ...TRAIN_FLAGS.targetModules, group: TRAINING },
  learningRates: map("Learning rates other than the methods' usual ones, by method", {
    placeholder: "METHOD=RATE,…",
    group: TRAINING,
  }),
  numeric: { ...TRAIN_FLAGS.numeric, group: TRAINING },
  valBatches: { ...TRAIN_FLAGS.valBatches, group: TRAINING },
  seed: { ...TRAIN_FLAGS.seed, group: TRAINING },
  shapes: list("Sequences × tokens of the runs that are timed", {
    default: ["1x128", "16x256", "32x512"],
    placeholder: "SHAPES",
    group: TIMING,
  }),
  seconds: integer("Seconds after which no further round of a shape begins", {
    default: 20,
    min: 1,
    group: TIMING,
  }),
  savePath: text("Folder in which to keep adapters and merged model; dropped if absent", {
    placeholder: "DIR",
  }),
  plot: text("Also draw the added latency, as SVG", { placeholder: "FILE" }),
  json: JSON_FLAG,
  ...RUNTIME_FLAGS,
} as const;

export type BenchMethodsFlags = Values<typeof BENCH_METHODS_FLAGS>;
