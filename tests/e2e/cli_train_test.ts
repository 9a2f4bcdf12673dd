import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { graft, graftOnTerminal } from "../helpers/graft.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODELS = fromFileUrl(new URL("../fixtures/models", import.meta.url));

/** Prompts and completions with something to learn: the completion is the prompt's colour. */
function writePairs(path: string): void {
  const lines = ["red", "green", "blue", "white"].flatMap((colour) =>
    ["card", "door", "lamp", "coat", "bag"].map((thing) =>
      JSON.stringify({ prompt: `What colour is the ${colour} ${thing}?`, completion: colour })
    )
  );
  Deno.writeTextFileSync(path, lines.join("\n") + "\n");
}

Deno.test("graft train learns classes beside an existing head, and --test tells how well", () =>
  inTempDir(async (path) => {
    const rows = (things: string[]) =>
      "text,label\n" + things.flatMap((thing) => [
        `lock the ${thing} please,close`,
        `unlock my ${thing} now,open`,
        `is the ${thing} locked,ask`,
      ]).join("\n") + "\n";
    Deno.writeTextFileSync(join(path, "train.csv"), rows(["door", "car", "gate", "safe", "box"]));
    Deno.writeTextFileSync(join(path, "test.csv"), rows(["shed", "bike"]));
    const result = await graft(
      "train",
      ...["--model", join(MODELS, "tiny-bert-dynamic-int8"), "--data", path, "--test"],
      ...["--modules-to-save", "classifier", "--target-modules", "query,value"],
      ...["--epochs", "6", "--learning-rate", "1e-2", "--threads", "1"],
      ...["--adapter-path", join(path, "adapter")],
    );
    assertEquals(result.code, 0, result.stderr);
    assertStringIncludes(result.stderr, "The model rounds activations to integers as it runs");
    const accuracy = /Test loss [\d.]+, accuracy ([\d.]+)%/.exec(result.stdout);
    assert(accuracy !== null, result.stdout);
    const card = JSON.parse(Deno.readTextFileSync(join(path, "adapter", "graft.json")));
    assertEquals([card.task, card.pooling], ["classification", null]);
    assertStringIncludes(card.labels.join(), "ask,close,open");
  }));

Deno.test("graft train reads no data for a run that is refused by its flags or its targets", () =>
  inTempDir(async (path) => {
    const run = (...flags: string[]) =>
      graft(
        ...[
          "train",
          "--model",
          join(MODELS, "tiny-llama-torch-fp32"),
          "--data",
          join(path, "none"),
        ],
        ...["--adapter-path", join(path, "adapter"), ...flags],
      );
    for (
      const [flag, message] of [
        ["--target-modules=q_prok", "no such module; did you mean q_proj"],
        ["--modules-to-save=score", '"score"'],
        ["--resume", "has no whole checkpoint"],
      ]
    ) {
      const { code, stderr } = await run(flag);
      assertEquals([code, stderr.trim().split("\n").length], [2, 1], stderr);
      assertStringIncludes(stderr, message);
    }
    Deno.mkdirSync(join(path, "adapter", "checkpoints", "step-000010"), { recursive: true });
    const { code, stderr } = await run();
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, "has checkpoints of an earlier run: --resume goes on with it");
  }));

/** What would fail only after the training, or leave out in silence what was asked for. */
const REFUSED_FLAGS: readonly (readonly [readonly string[], string])[] = [
  [["--test"], "--test needs a test file"],
  [["--no-train"], "nothing to do: --no-train needs --test"],
  [["--patience=2"], "--patience needs validation data"],
  [["--rank=1000000000"], "rank must be <= 65536"],
  [["--rank-pattern=nothere=4"], 'Cannot give "nothere" a rank or alpha of its own'],
];

for (const [flags, message] of REFUSED_FLAGS) {
  Deno.test(`graft train refuses ${flags.join(" ")} before it trains`, () =>
    inTempDir(async (path) => {
      const data = join(path, "pairs.jsonl");
      writePairs(data);
      const adapter = join(path, "adapter");
      const { code, stderr } = await graft(
        ...["train", "--model", join(MODELS, "tiny-llama-torch-fp32"), "--data", data],
        ...["--adapter-path", adapter, "--threads=1", "--iters=1", ...flags],
      );
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, message);
      assertThrows(() => Deno.statSync(adapter), Deno.errors.NotFound);
    }));
}

for (
  const [model, why] of [
    [join(MODELS, "tiny-bert-torch-fp32"), 'its output "logits" scores whole texts'],
    ["models/all-minilm-l6-v2-int8", 'it has no output "logits"'],
  ]
) {
  Deno.test(`graft train on completions refuses a model: ${why}`, () =>
    inTempDir(async (path) => {
      const data = join(path, "pairs.jsonl");
      writePairs(data);
      const { code, stderr } = await graft("train", "--model", model, "--data", data);
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, `the model is no language model: ${why}`);
    }));
}

Deno.test("graft train with no validation batches trains without an evaluation", () =>
  inTempDir(async (path) => {
    const data = join(path, "pairs.jsonl");
    writePairs(data);
    const { code, stderr } = await graft(
      ...["train", "--model", join(MODELS, "tiny-llama-torch-fp32"), "--data", data],
      ...["--adapter-path", join(path, "adapter"), "--threads=1", "--iters=1"],
      ...["--validation-split=0.2", "--val-batches=0"],
    );
    assertEquals(code, 0, stderr);
    assert(!stderr.includes("validation loss"), stderr);
  }));

Deno.test("graft train goes on from a saved adapter as a new run", () =>
  inTempDir(async (path) => {
    const data = join(path, "pairs.jsonl");
    writePairs(data);
    const args = [
      "train",
      ...["--model", join(MODELS, "tiny-llama-genai-fp32"), "--data", data, "--threads", "1"],
      ...["--iters", "10", "--steps-per-report", "1", "--learning-rate", "1e-2"],
    ];
    const lossesOf = (name: string) =>
      Deno.readTextFileSync(join(path, name, "metrics.jsonl")).trim().split("\n")
        .map((line) => JSON.parse(line).loss as number);
    const first = await graft(...args, "--adapter-path", join(path, "one"));
    assertEquals(first.code, 0, first.stderr);
    const second = await graft(
      ...args,
      ...["--resume-adapter-file", join(path, "one", "adapter_model.safetensors")],
      ...["--adapter-path", join(path, "two")],
    );
    assertEquals(second.code, 0, second.stderr);
    assert(lossesOf("two")[0] < lossesOf("one")[0] - 0.2, `${lossesOf("two")} ${lossesOf("one")}`);
  }));

testWithTool(
  "script",
  "graft train draws a progress bar on a terminal, without colours where NO_COLOR is set",
  () =>
    inTempDir(async (path) => {
      const data = join(path, "pairs.jsonl");
      writePairs(data);
      const args = [
        "train",
        ...["--model", join(MODELS, "tiny-llama-genai-fp32"), "--data", data, "--threads", "1"],
        ...["--iters", "5", "--validation-split", "0.2", "--learning-rate", "1e-2"],
      ];
      const plain = await graftOnTerminal(
        { NO_COLOR: "1" },
        ...args,
        "--adapter-path",
        `${path}/a`,
      );
      assert(
        /█{20} 5\/5 {2}loss \d+\.\d{4} {2}\d+ tok\/s {2}\d+ MB {2}0 s left/.test(plain),
        plain,
      );
      assert(!plain.includes("\x1b[32m"), plain);
      const colored = await graftOnTerminal({}, ...args, "--adapter-path", `${path}/b`);
      assertStringIncludes(colored, "\x1b[32mstep 5: validation loss");
    }),
);
