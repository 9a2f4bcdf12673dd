import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { LocalText } from "../../src/data/mod.ts";
import { EXIT } from "../../src/errors.ts";
import { modelDigest } from "../../src/lora/digest.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { readTextFiles } from "../../src/model/tokenizer_files.ts";
import { MINILM_DIR, modelDir, readModel, referenceDir } from "../helpers/fixture_models.ts";
import { genaiAnswers, graftAnswers } from "../helpers/genai.ts";
import { graft, graftTyped, graftWithInput } from "../helpers/graft.ts";
import { testWithPython, testWithTool } from "../helpers/requirements.ts";
import { runPython } from "../helpers/run_python.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LLAMA = modelDir("tiny-llama-genai-fp32");
const BERT = modelDir("tiny-bert-torch-fp32");
const LABELS = ["lost", "stolen", "late", "broken", "other"];

async function ok(run: Promise<{ code: number; stdout: string; stderr: string }>) {
  const { code, stdout, stderr } = await run;
  assertEquals(code, EXIT.ok, stderr);
  return { stdout, stderr };
}

const json = async (...args: string[]) => JSON.parse((await ok(graft("run", ...args))).stdout);

/** PyTorch's adapter of an oracle as graft would have saved it, for a base. */
function saveAsGraft(path: string, reference: string, base: string): void {
  const { adapter } = loadAdapter(`${referenceDir(reference)}/adapter_after_10_steps`);
  const baseDigest = modelDigest(readModel(base));
  const classes = reference.startsWith("tiny-bert");
  saveAdapter(path, {
    ...adapter,
    card: classes
      ? { baseDigest, task: "classification", labels: LABELS, config: {} }
      : { baseDigest, task: "causal", config: {} },
  });
}

Deno.test("graft run writes the answer to standard output, the same each time, and says where it was cut", async () => {
  const { stdout, stderr } = await ok(graft("run", LLAMA, "my", "card", "is", "lost", "-n", "12"));
  assert(stdout.endsWith("\n"));
  assertStringIncludes(stderr, "The answer was cut at 12 tokens");
  const { text, ...rest } = await json(LLAMA, "my card is lost", "-n", "12", "--json");
  assertEquals(text, stdout.replace(/\n$/, ""));
  assertEquals(rest, {
    prompt: "my card is lost",
    finish_reason: "length",
    prompt_tokens: rest.prompt_tokens,
    completion_tokens: 12,
  });
});

Deno.test("graft run takes the text from a pipe, whole or line by line", async () => {
  const whole = await ok(graftWithInput("first\nsecond\n", "run", LLAMA, "-n", "4", "--json"));
  assertEquals(JSON.parse(whole.stdout).prompt, "first\nsecond");
  const lines = await ok(
    graftWithInput("first\n\nsecond", "run", LLAMA, "-n", "4", "--lines", "--json"),
  );
  const answers = lines.stdout.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(answers.map(({ prompt }) => prompt), ["first", "second"]);
  assertEquals(answers[1].text, (await json(LLAMA, "second", "-n", "4", "--json")).text);
});

Deno.test("graft run --raw goes on from the text itself; --system begins the chat", async () => {
  const counts = await Promise.all([
    json(LLAMA, "lost", "-n", "4", "--json", "--raw"),
    json(LLAMA, "lost", "-n", "4", "--json"),
    json(LLAMA, "lost", "-n", "4", "--json", "--system", "be kind"),
  ]);
  const [raw, chat, system] = counts.map(({ prompt_tokens }) => prompt_tokens);
  assert(raw < chat && chat < system, `${raw}, ${chat}, ${system}`);
});

Deno.test("graft run samples the same for one seed and others for other seeds", async () => {
  const draw = (seed: string) =>
    json(LLAMA, "lost", "-n", "12", "--json", "--temp", "1", "--top-k", "40", "--seed", seed);
  const [one, again, two] = [await draw("1"), await draw("1"), await draw("2")];
  assertEquals(one, again);
  assertEquals(one.seed, 1);
  assert(one.text !== two.text);
});

Deno.test("graft run ends before a stop text, commas and all", async () => {
  const { text } = await json(LLAMA, "my card is lost", "-n", "16", "--json");
  const stop = text.slice(4, 7);
  const cut = await json(LLAMA, "my card is lost", "-n", "16", "--json", "--stop", stop);
  assertEquals(cut.text, text.slice(0, text.indexOf(stop)));
  assertEquals(cut.finish_reason, "stop");
  const other = await json(LLAMA, "my card is lost", "-n", "16", "--json", "--stop", `${stop},☃`);
  assertEquals(other.text, text);
});

Deno.test("graft run answers with an adapter on the base, and the same once merged", () =>
  inTempDir(async (path) => {
    const [adapter, merged] = [join(path, "adapter"), join(path, "merged")];
    saveAsGraft(adapter, "tiny-llama-fp32.all", LLAMA);
    const ask = ["my card is lost", "-n", "12", "--json"];
    const base = await json(LLAMA, ...ask);
    const adapted = await json(LLAMA, ...ask, "--adapter-path", adapter);
    assert(base.text !== adapted.text);
    await ok(graft("merge", "--model", LLAMA, "--adapter-path", adapter, "--save-path", merged));
    assertEquals(await json(merged, ...ask), adapted);
  }));

Deno.test("graft run says that an adapter was not made by graft", async () => {
  const adapter = `${referenceDir("tiny-llama-fp32.qv")}/adapter_after_10_steps`;
  const args = ["run", LLAMA, "lost", "-n", "4", "--lora", adapter];
  assertStringIncludes((await ok(graft(...args))).stderr, "was not made by graft");
});

Deno.test("graft run prints classes under the adapter's names", () =>
  inTempDir(async (path) => {
    saveAsGraft(path, "tiny-bert-fp32.qv", BERT);
    const args = [BERT, "where is my card", "--adapter-path", path];
    const { label, probability, classes } = await json(...args, "--json", "--top-classes", "5");
    assertEquals(classes.map((c: { label: string }) => c.label).sort(), LABELS.toSorted());
    assertEquals(classes[0], { label, probability });
    const sum = classes.reduce((a: number, c: { probability: number }) => a + c.probability, 0);
    assertAlmostEquals(sum, 1, 1e-5);
    const plain = await ok(graft("run", ...args));
    assertEquals(plain.stdout, `${label}\t${probability.toFixed(4)}\n`);
    // The base has a head of its own, without names.
    assertStringIncludes((await ok(graft("run", BERT, "card"))).stdout, "LABEL_");
  }));

testWithPython(
  ["onnxruntime", "tokenizers", "numpy"],
  "graft run --embedding prints Python's mean-pooled, normalised vectors",
  async () => {
    const sentences = ["A cat sleeps on the sofa.", "Überweisung nach São Paulo?", "lights on"];
    const { stdout } = await ok(
      graftWithInput(sentences.join("\n"), "run", MINILM_DIR, "--embedding"),
    );
    const found: number[][] = stdout.trim().split("\n").map((line) => JSON.parse(line));
    const program = `
import json, sys, numpy as np, onnxruntime as ort
from tokenizers import Tokenizer
model, sentences = sys.argv[1], sys.argv[2:]
tokenizer = Tokenizer.from_file(model + "/tokenizer.json")
tokenizer.no_padding()
options = ort.SessionOptions()
# Without VNNI its products saturate unless this is set, as graft sets it.
options.add_session_config_entry("session.x64quantprecision", "1")
session = ort.InferenceSession(model + "/model.onnx", options, providers=["CPUExecutionProvider"])
vectors = []
for sentence in sentences:
    ids = np.array([tokenizer.encode(sentence).ids], dtype=np.int64)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    mean = session.run(["last_hidden_state"], feeds)[0][0].mean(axis=0)
    vectors.append((mean / np.linalg.norm(mean)).tolist())
print(json.dumps(vectors))`;
    const expected: number[][] = JSON.parse(await runPython(program, [MINILM_DIR, ...sentences]));
    assertEquals(found.length, sentences.length);
    found.forEach((vector, i) => {
      const cosine = vector.reduce((sum, value, j) => sum + value * expected[i][j], 0);
      assertAlmostEquals(cosine, 1, 1e-5);
      vector.forEach((value, j) => assertAlmostEquals(value, expected[i][j], 1e-4));
    });
  },
);

testWithPython(
  ["onnxruntime_genai"],
  "graft run generates onnxruntime-genai's greedy tokens",
  async () => {
    const model = modelDir("tiny-llama-genai-int4");
    const prompts = ["my card is lost", "Why was I charged twice?", "top up", "exchange rate"];
    const genai = await genaiAnswers(model, prompts, 24);
    const found = await graftAnswers(model, prompts, 24);
    // The fixture's weights are random, its answers no clean UTF-8, which genai's decoder stops at.
    const text = new LocalText(readTextFiles(model));
    const expected = await text.decode(genai.map(({ ids }) => ids!));
    assertEquals(found.map((answer) => answer.text), expected);
    assertEquals(found.map((a) => a.promptTokens), genai.map((a) => a.promptTokens));
  },
);

testWithTool("script", "graft run on a terminal chats until /bye", async () => {
  const shown = await graftTyped("hello\n/bye\n", "run", LLAMA, "-n", "4");
  assertStringIncludes(shown, ">>> ");
  assertStringIncludes(shown, "/clear forgets the chat");
  assertStringIncludes(shown, "The answer was cut at 4 tokens");
});

Deno.test("graft run refuses an adapter of another base", () =>
  inTempDir(async (path) => {
    saveAsGraft(path, "tiny-llama-fp32.qv", LLAMA);
    const other = modelDir("tiny-llama-torch-fp32");
    const { code, stderr } = await graft("run", other, "a", "--adapter-path", path);
    assertEquals(code, EXIT.badInput);
    assertStringIncludes(stderr, "the adapter belongs to another base");
  }));

const WRONG: readonly (readonly [string, string[], number, string])[] = [
  ["no model", [], EXIT.usage, "graft run needs a model"],
  ["a model that is not there", ["/nowhere", "a"], EXIT.badInput, '"/nowhere"'],
  ["an empty text", [LLAMA, " "], EXIT.usage, "The text is empty"],
  ["two texts", [LLAMA, "a", "--prompt", "b"], EXIT.usage, "The text is given twice"],
  ["a missing adapter", [LLAMA, "a", "--adapter-path", "/no"], EXIT.badInput, "no adapter here"],
  ["too long a context", [LLAMA, "a", "-c", "999"], EXIT.usage, "--ctx-size must be <= 256"],
  ["a prompt over the context", [LLAMA, "a", "-c", "9"], EXIT.usage, "fewer tokens than the cont"],
  ["top-p of 0", [LLAMA, "a", "--top-p", "0"], EXIT.usage, "top-p must be in (0, 1]"],
  ["a system message for --raw", [LLAMA, "a", "--raw", "--system", "b"], EXIT.usage, "--raw"],
  ["embeddings of a text model", [LLAMA, "a", "--embedding"], EXIT.badInput, "Cannot embed"],
];

for (const [what, args, exit, message] of WRONG) {
  Deno.test(`graft run says what is wrong with ${what}`, async () => {
    const { code, stderr, stdout } = await graft("run", ...args);
    assertEquals([code, stdout], [exit, ""], stderr);
    assertStringIncludes(stderr, message);
  });
}

Deno.test("graft run says that it got no text at all", async () => {
  const { code, stderr } = await graftWithInput("", "run", LLAMA);
  assertEquals(code, EXIT.usage);
  assertStringIncludes(stderr, "The text is empty");
});

Deno.test("graft run says that its input is no text", async () => {
  const { code, stderr } = await graftWithInput(Uint8Array.of(0xff, 0xfe), "run", LLAMA);
  assertEquals(code, EXIT.badInput);
  assertStringIncludes(stderr, "Standard input is not UTF-8");
});
