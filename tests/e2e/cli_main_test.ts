import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { VERSION } from "../../mod.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { EXIT } from "../../src/errors.ts";
import { graft, graftUnder } from "../helpers/graft.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs } from "../helpers/training_runs.ts";

Deno.test("graft --version prints its version, Deno's, ONNX Runtime's and the providers", async () => {
  const { code, stdout } = await graft("--version");
  assertEquals(code, 0);
  const [own, deno, ort] = stdout.split("\n");
  assert(own.startsWith(`graft ${VERSION} (`), own);
  assert(/^Deno \d+\.\d+\.\d+, \w+-unknown-linux-gnu$/.test(deno), deno);
  assert(/^ONNX Runtime 1\.\d+\.\d+: .*CPUExecutionProvider$/.test(ort), ort);
});

Deno.test("graft --help lists the verbs and the exit codes", async () => {
  const { code, stdout } = await graft("--help");
  assertEquals(code, 0);
  for (const text of ["  train ", "Exit codes:", " 74  "]) assertStringIncludes(stdout, text);
});

Deno.test("graft without a verb prints the help and ends with 2", async () => {
  const { code, stdout } = await graft();
  assertEquals(code, 2);
  assertStringIncludes(stdout, "Usage: graft VERB");
});

Deno.test("graft help VERB and graft VERB --help print the same", async () => {
  const [one, two] = [await graft("help", "train"), await graft("train", "--help")];
  assertEquals(one.code, 0);
  assertEquals(two, one);
  assertStringIncludes(one.stdout, "--learning-rate X");
});

for (
  const [args, message] of [
    [["trian"], 'Unknown verb "trian"; did you mean "train"?'],
    [["constructor"], 'Unknown verb "constructor"'],
    [["--model", "x", "train"], "The verb comes first"],
    [
      ["train", "--lerning-rate", "1"],
      'Unknown flag --lerning-rate; did you mean "--learning-rate"?',
    ],
    [["train", "--data", "x"], "Missing --model"],
    [["train", "--rank", "0"], "--rank must be >= 1: current value is 0"],
    [["train", "extra"], "takes no arguments besides flags"],
  ] as const
) {
  Deno.test(`graft ${args.join(" ")} ends with 2 and one line`, async () => {
    const { code, stdout, stderr } = await graft(...args);
    assertEquals([code, stdout], [2, ""]);
    assert(stderr.startsWith("graft: "), stderr);
    assertEquals(stderr.trimEnd().split("\n").length, 1);
    assertStringIncludes(stderr, message);
  });
}

Deno.test("graft names a configuration file that is not there and ends with 65", async () => {
  const { code, stderr } = await graft("train", "--config", "/nowhere/run.yaml");
  assertEquals([code, stderr], [65, "graft: Cannot read /nowhere/run.yaml: no such file\n"]);
});

Deno.test("graft opens no pipe that is named as data or configuration", async () => {
  const folder = Deno.makeTempDirSync();
  const pipe = `${folder}/pipe`;
  try {
    await new Deno.Command("mkfifo", { args: [pipe] }).output();
    const model = modelDir("tiny-llama-torch-fp32");
    for (const args of [["--config", pipe], ["--model", model, "--data", pipe]]) {
      const { code, stderr } = await graft("train", ...args);
      assertEquals([code, stderr], [65, `graft: Cannot read ${pipe}: it is not a regular file\n`]);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("graft names a model folder that is not there and ends with 65", async () => {
  const { code, stderr } = await graft("train", "--model", "/nowhere", "--data", "/nowhere");
  assertEquals(code, 65);
  assertStringIncludes(stderr, "/nowhere");
});

/** Runs `graft` with its output in a pipe whose reader takes a byte; its exit code, and all else shown. */
async function intoHead(...args: string[]) {
  const line = '"$@" | head -c 1 >/dev/null; echo "${PIPESTATUS[0]}"';
  const { stdout, stderr } = await graftUnder(["bash", "-c", line, "bash"], ...args);
  return { code: Number(stdout), stderr };
}

Deno.test("graft inspect into a pipe that nobody reads on ends as it would, and says nothing of it", async () => {
  const found = await intoHead("inspect", modelDir("tiny-llama-genai-int4"));
  assertEquals(found, { code: EXIT.ok, stderr: "" });
});

Deno.test("graft run stops writing where nobody reads on, with 141 and no word", async () => {
  const found = await intoHead(
    ...["run", modelDir("tiny-llama-genai-int4"), "my card", "-n", "400"],
  );
  assertEquals(found, { code: EXIT.outputClosed, stderr: "" });
});

Deno.test("graft train goes on where nobody reads its notes, on a full disk and behind a pipe", () =>
  inTempDir(async (dir) => {
    const data = `${dir}/pairs.jsonl`;
    Deno.writeTextFileSync(data, pairs(4));
    const train = ["train", "--model", modelDir("tiny-llama-genai-int4"), "--data", data];
    for (const [i, notes] of ["2>/dev/full", "2> >(head -n 1 >/dev/null)"].entries()) {
      const args = [
        ...train,
        "--iters=3",
        "--steps-per-report=1",
        "--adapter-path",
        `${dir}/a${i}`,
      ];
      const { code } = await graftUnder(["bash", "-c", `"$@" ${notes}`, "bash"], ...args);
      assertEquals(code, EXIT.ok);
      assert(Deno.statSync(`${dir}/a${i}/adapter_model.safetensors`).isFile);
    }
  }));

Deno.test("graft inspect says that its result cannot be written, and ends with 74", async () => {
  const model = modelDir("tiny-llama-genai-int4");
  const { code, stderr } = await graftUnder(
    ["bash", "-c", '"$@" >/dev/full', "bash"],
    ...["inspect", model],
  );
  assertEquals(code, EXIT.io);
  assertStringIncludes(stderr, "graft: Cannot write the result: No space left on device");
});
