import { assertEquals, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import { graft, graftUnder } from "../helpers/graft.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const CHILD = fromFileUrl(new URL("../helpers/pipe_child.ts", import.meta.url));
/** Longer than any of this takes: who opened a pipe would be there for ever. */
const DEADLINE = ["timeout", "--signal=KILL", "60"] as const;

/** Names under which files are looked for beside one that a user names. */
const NAMES = [
  "pipe",
  "adapter_model.safetensors",
  `file-${"0".repeat(24)}/content`,
  `file-${"0".repeat(24)}/file.json`,
  `ftjob-${"0".repeat(24)}/job.json`,
  "genai_config.json",
  "memory.json",
  "metrics.jsonl",
  "models--org--tiny/refs/main",
  "names/mill",
  "task/task.json",
  "tokenizer.json",
];

async function makePipes(folder: string): Promise<void> {
  const paths = NAMES.map((name) => join(folder, name));
  for (const path of paths) Deno.mkdirSync(join(path, ".."), { recursive: true });
  const { success } = await new Deno.Command("mkfifo", { args: paths }).output();
  assertEquals(success, true);
}

Deno.test("no file that a user names, and none beside it, is opened where it is a pipe", () =>
  inTempDir(async (folder) => {
    await makePipes(folder);
    const [program, ...args] = [...DEADLINE, Deno.execPath(), "run", "-A", "--no-check", CHILD];
    const { stdout, stderr } = await new Deno.Command(program, { args: [...args, folder] })
      .output();
    const lines = new TextDecoder().decode(stdout).replaceAll(folder, "F").trimEnd().split("\n");
    assertEquals(lines.map((line) => line.split(": ").slice(0, 2).join(": ")), [
      "--adapter-path: BadInputError",
      "--auth-supernode-private-key: BadInputError",
      "--config: BadInputError",
      "--data: BadInputError",
      "--jobs-dir: BadInputError",
      "--jobs-dir, events: BadInputError",
      "--jobs-dir, metrics: BadInputError",
      "--jobs-dir, an upload: BadInputError",
      "--jobs-dir, an upload's content: BadInputError",
      "a box's task: BadInputError",
      "a box's work: BadInputError",
      "--model, a file: BadInputError",
      "--model, a folder: BadInputError",
      "--ort-lib: OrtLoadError",
      "pull of a folder: BadInputError",
      "pull of a tar: BadInputError",
      "a digest: BadInputError",
      "a mapped file: BadInputError",
      "a tokenizer: BadInputError",
      "metrics of a resumed run: BadInputError",
      "a branch in the cache: passed over",
      "a token: passed over",
      "memory of a resumed run: passed over",
      "a model's folder: passed over",
      "a name in the store: BadInputError",
    ], new TextDecoder().decode(stderr));
    for (const line of lines.filter((line) => line.includes("Error"))) {
      assertStringIncludes(line, "regular file");
      assertStringIncludes(line, "F");
    }
  }));

Deno.test("graft pull refuses a pipe, a socket, a device and a link to itself before it opens them", () =>
  inTempDir(async (folder) => {
    await makePipes(folder);
    using _socket = Deno.listen({ transport: "unix", path: join(folder, "socket") });
    Deno.symlinkSync("loop", join(folder, "loop"));
    Deno.env.set("HF_HOME", join(folder, "hf"));
    const cases: [string, number, string][] = [
      [join(folder, "pipe"), EXIT.badInput, "not a regular file"],
      [join(folder, "socket"), EXIT.badInput, "not a regular file"],
      ["/dev/zero", EXIT.badInput, "not a regular file"],
      [join(folder, "loop"), EXIT.io, "Too many levels of symbolic links"],
    ];
    await Promise.all(cases.map(async ([path, code, words]) => {
      const found = await graftUnder(DEADLINE, "pull", path, "--name", "x");
      assertEquals([found.code, found.stdout], [code, ""], found.stderr);
      assertStringIncludes(found.stderr, path);
      assertStringIncludes(found.stderr, words);
    }));
    const missing = await graft("pull", join(folder, "none.tar"));
    assertEquals(missing.code, EXIT.badInput);
    assertStringIncludes(missing.stderr, "there is no such file");
  }));
