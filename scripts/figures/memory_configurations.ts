/** Training runs drawn at random, to see whether their memory is predicted. */
import { Random } from "../../src/random.ts";
import { OPTIMIZER_NAMES } from "../../src/train/update_rules.ts";
import { writeRows } from "./drawn_rows.ts";

/** A run of `graft train` but for the adapter's path. */
export interface Configuration {
  readonly model: string;
  /** What distinguishes it. */
  readonly how: Readonly<Record<string, unknown>>;
  readonly args: readonly string[];
}

/** Where models and sentences are, and where data files may be written. */
export interface Places {
  readonly shared: string;
  readonly folder: string;
}

/** Batches of a run: enough for long and short ones, few enough for twenty runs. */
const BATCHES = 6;

/** What is drawn of each model; shorter lengths and smaller batches are quicker. */
const CHOICES = {
  smollm2: {
    folder: "smollm2-135m-instruct-int4",
    budget: "900M",
    targets: ["q_proj,v_proj", "attention", "mlp", "all-linear"],
    batch: [1, 2, 3, 4, 6],
    length: [64, 128, 256],
    data: ["plain text", "common beginning", "e2e"],
  },
  minilm: {
    folder: "all-minilm-l6-v2-int8",
    budget: "400M",
    targets: ["query,value", "all-linear"],
    batch: [4, 8, 16, 32],
    length: [32, 64, 128, 256],
    data: ["long classes", "banking77"],
  },
} as const;
const MODELS = ["smollm2", "minilm"] as const;

const ANY = {
  rank: [4, 8, 16, 32],
  numeric: ["exact", "fast"],
  optimizer: OPTIMIZER_NAMES,
  accumulation: [1, 1, 2],
  dropout: [0, 0, 0.1],
  validation: [0, 0, 0.2],
  keep: ["as usual", "as usual", "nothing", "all", "a budget"],
} as const;

/** Flags of what a run keeps. */
const keepFlags = (budget: string): Readonly<Record<string, readonly string[]>> => ({
  "nothing": ["--grad-checkpoint"],
  "all": ["--no-grad-checkpoint"],
  "a budget": ["--memory-budget", budget],
});

/** The same for the same seed. */
export function drawConfigurations(seed: number, count: number, places: Places): Configuration[] {
  const random = Random.fromSeed(seed);
  return Array.from({ length: count }, (_, i) => draw(random, i, places));
}

function draw(random: Random, number: number, { shared, folder }: Places): Configuration {
  const one = <T>(choices: readonly T[]): T => choices[random.next() % choices.length];
  const model = one(MODELS);
  const { folder: name, budget, ...choices } = CHOICES[model];
  const how = {
    targets: one<string>(choices.targets),
    batch: one<number>(choices.batch),
    length: one<number>(choices.length),
    data: one<string>(choices.data),
    rank: one(ANY.rank),
    numeric: one(ANY.numeric),
    optimizer: one(ANY.optimizer),
    accumulation: one(ANY.accumulation),
    dropout: one(ANY.dropout),
    validation: one(ANY.validation),
    keep: one(ANY.keep),
  };
  const rows = Math.ceil(BATCHES * how.batch * how.accumulation / (1 - how.validation));
  const data = writeRows(how.data, rows, `${folder}/${number}`, shared, random);
  return {
    model,
    how,
    args: [
      ...["--model", `${shared}/models/${name}`, "--data", data, "--epochs", "1"],
      ...["--target-modules", how.targets, "--rank", String(how.rank)],
      ...["--batch-size", String(how.batch), "--max-seq-length", String(how.length)],
      ...["--numeric", how.numeric, "--optimizer", how.optimizer],
      ...["--grad-accumulation-steps", String(how.accumulation)],
      ...["--lora-dropout", String(how.dropout), "--seed", String(number)],
      ...(how.validation === 0 ? [] : ["--validation-split", String(how.validation)]),
      ...keepFlags(budget)[how.keep] ?? [],
    ],
  };
}
