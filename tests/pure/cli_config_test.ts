import { assertEquals, assertThrows } from "@std/assert";
import { resolveValues } from "../../src/cli/config.ts";
import { formatConfig, parseConfig } from "../../src/config/file.ts";
import { TRAIN_FLAGS } from "../../src/cli/train/train_flags.ts";
import { UsageError } from "../../src/errors.ts";

const parse = (source: string) => parseConfig(source, TRAIN_FLAGS, "run.yaml");
const fails = (source: string, message: string) =>
  assertThrows(() => parse(source), UsageError, message);

Deno.test("parseConfig() reads mlx_lm's configuration file", () => {
  const values = parse(`
model: "mlx_model"
train: true
data: "/path/to/training/data"
seed: 0
num_layers: 16
batch_size: 4
iters: 1000
val_batches: 25
learning_rate: 1e-5
steps_per_report: 10
steps_per_eval: 200
resume_adapter_file: null
adapter_path: "adapters"
save_every: 100
test: false
max_seq_length: 2048
grad_checkpoint: false
lora_parameters:
  keys: ["self_attn.q_proj", "self_attn.v_proj"]
  rank: 8
  scale: 20.0
  dropout: 0.0
lr_schedule:
  name: cosine_decay
  warmup: 100
  arguments: [1e-5, 1000, 1e-7]
`);
  assertEquals(values.learningRate, 1e-5);
  assertEquals(values.targetModules, ["self_attn.q_proj", "self_attn.v_proj"]);
  assertEquals([values.rank, values.loraAlpha, values.loraDropout], [8, 160, 0]);
  assertEquals(
    [values.lrSchedule, values.warmupSteps, values.lrDecaySteps, values.lrEnd],
    ["cosine", 100, 1000, 1e-7],
  );
  assertEquals("resumeAdapterFile" in values, false);
});

Deno.test("parseConfig() refuses what it does not know, with file and nearest spelling", () => {
  fails("learning_rte: 1", 'Unknown key "learning_rte" in run.yaml; did you mean "learning_rate"?');
  fails("lora_parameters: {ranks: 1}", 'Unknown key "ranks" in "lora_parameters" in run.yaml');
  fails("lr_schedule: {nam: x}", 'Unknown key "nam"');
  fails("lr_schedule: {name: step}", '"lr_schedule" in run.yaml must be one of');
  fails("batch_size: many", '"batch_size" in run.yaml must be a whole number');
  fails("batch_size: 0", "must be >= 1: current value is 0");
  fails("- a\n- b", "run.yaml must be a mapping");
  fails("a: [", "Cannot read run.yaml as YAML");
  fails("lora_parameters: {scale: 20}", 'must be a number beside "rank"');
  fails("__proto__: {model: x}", 'Unknown key "__proto__"');
});

Deno.test("parseConfig() does not take flags that belong on the command line", () => {
  fails("resume: true", 'Unknown key "resume"');
  fails("config: other.yaml", 'Unknown key "config"');
});

Deno.test("parseConfig() accepts an empty file", () => {
  assertEquals(parse(""), {});
  assertEquals(parse("# nothing\n"), {});
});

Deno.test("resolveValues() lets the command line override the file, and the file the defaults", () => {
  const file = { model: "m", data: "d", rank: 4, seed: 3 };
  const { values, given } = resolveValues(TRAIN_FLAGS, { rank: 2, maskPrompt: false }, file);
  assertEquals([values.rank, values.seed, values.batchSize], [2, 3, 4]);
  assertEquals([values.maskPrompt, values.epochs], [false, undefined]);
  assertEquals([...given].sort(), ["data", "maskPrompt", "model", "rank", "seed"]);
});

Deno.test("resolveValues() lets --epochs of the command line take the place of a file's iters, and back", () => {
  const file = { model: "m", data: "d", iters: 9 };
  const values = (given: Record<string, unknown>, from = file) =>
    resolveValues(TRAIN_FLAGS, given, from).values;
  assertEquals(values({}).iters, 9);
  assertEquals([values({ epochs: 2 }).epochs, values({ epochs: 2 }).iters], [2, undefined]);
});

Deno.test("resolveValues() names a required flag that has no value", () => {
  assertThrows(() => resolveValues(TRAIN_FLAGS, { model: "m" }), UsageError, "Missing --data");
});

Deno.test("formatConfig() writes what parseConfig() reads back", () => {
  const { values } = resolveValues(TRAIN_FLAGS, {
    model: "m",
    data: "d: e",
    iters: 7,
    targetModules: ["q", "v.*"],
    rankPattern: { "q.*": 2 },
    learningRate: 1e-5,
    maskPrompt: false,
  });
  const read = parse(formatConfig(values, TRAIN_FLAGS));
  assertEquals(resolveValues(TRAIN_FLAGS, {}, read).values, values);
});
