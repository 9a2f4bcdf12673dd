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

/** A way to train that is not plain LoRA. */
interface Method {
  readonly name: string;
  readonly flags: readonly string[];
  /** The model that has what it trains; default both. */
  readonly model?: typeof MODELS[number];
  /** Whether LoRA's matrices are all that it trains, with A: then LoRA-FA and dropout go with it. */
  readonly isLora?: boolean;
}

const METHODS: readonly Method[] = [
  { name: "DoRA", flags: ["--use-dora"] },
  { name: "houlsby", flags: ["--adapter-type", "houlsby"] },
  { name: "prefix tuning", flags: ["--adapter-type", "prefix_tuning"], model: "smollm2" },
  { name: "PiSSA", flags: ["--init-lora-weights", "pissa_niter_4"], isLora: true },
  { name: "normalisations", flags: ["--adapter-type", "ln_tuning"] },
  { name: "LoRA with prompt tuning", flags: ["--adapter-type", "lora,prompt_tuning"] },
  { name: "scales", flags: ["--adapter-type", "scales"] },
  { name: "LoRA+", flags: ["--loraplus-lr-ratio", "8"] },
  { name: "pfeiffer", flags: ["--adapter-type", "pfeiffer"] },
  { name: "BitFit", flags: ["--adapter-type", "bitfit"], model: "minilm" },
  { name: "prompt tuning", flags: ["--adapter-type", "prompt_tuning"] },
  { name: "A frozen", flags: ["--freeze-a"] },
  { name: "LoRA and all biases", flags: ["--bias", "all"], model: "minilm" },
  { name: "LoRA with houlsby", flags: ["--adapter-type", "lora,houlsby"] },
];

/**
 * The same for the same seed.
 *
 * @param methods whether each trains another method, in turn, instead of LoRA
 */
export function drawConfigurations(
  seed: number,
  count: number,
  places: Places,
  methods = false,
): Configuration[] {
  const random = Random.fromSeed(seed);
  return Array.from(
    { length: count },
    (_, i) => draw(random, i, places, methods ? METHODS[i % METHODS.length] : undefined),
  );
}

function draw(
  random: Random,
  number: number,
  { shared, folder }: Places,
  method?: Method,
): Configuration {
  const one = <T>(choices: readonly T[]): T => choices[random.next() % choices.length];
  const drawn = one(MODELS);
  const model = method?.model ?? drawn;
  const { folder: name, budget, ...choices } = CHOICES[model];
  const isLora = method === undefined || method.isLora === true;
  const how = {
    ...(method === undefined ? {} : { method: method.name }),
    targets: one<string>(choices.targets),
    batch: one<number>(choices.batch),
    length: one<number>(choices.length),
    data: one<string>(choices.data),
    rank: one(ANY.rank),
    numeric: one(ANY.numeric),
    optimizer: one(isLora ? ANY.optimizer : ANY.optimizer.filter((name) => name !== "lorafa")),
    accumulation: one(ANY.accumulation),
    dropout: one(isLora ? ANY.dropout : [0]),
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
      ...method?.flags ?? [],
    ],
  };
}
