import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { Dataset, LocalText, prepareRows, TokenStore } from "../../src/data/mod.ts";
import { findData } from "../../src/data/io/data_folder.ts";
import { FileSource, TemporaryBytes } from "../../src/data/io/file_source.ts";
import { findings, parseUtterances } from "../../scripts/check_quickstart_data.ts";
import { BadInputError, StorageError } from "../../src/errors.ts";
import { readTextFiles } from "../../src/model/tokenizer_files.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { jsonBytes } from "../helpers/text_files.ts";

const TINY = "tests/fixtures/models/tiny-llama-genai-int4";

function inFolder(
  files: Record<string, string>,
  test: (path: string) => Promise<void> | void,
): Promise<void> {
  return inTempDir(async (path) => {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(join(path, name), text);
    }
    await test(path);
  });
}

Deno.test("findData() finds the parts of a folder, or takes one file", async () => {
  await inFolder({ "train.jsonl": "", "valid.csv": "", "notes.txt": "" }, (path) => {
    assertEquals(findData(path), {
      train: join(path, "train.jsonl"),
      valid: join(path, "valid.csv"),
    });
    assertEquals(findData(join(path, "notes.txt")), { train: join(path, "notes.txt") });
    assertThrows(() => findData(join(path, "none")), BadInputError, "There is no data at");
  });
  await inFolder({ "train.jsonl": "", "train.csv": "" }, (path) => {
    assertThrows(() => findData(path), BadInputError, "both train.jsonl and train.csv");
  });
  await inFolder({}, (path) => {
    assertThrows(() => findData(path), BadInputError, "it must hold train.jsonl");
  });
});

Deno.test("A data set in a file is read, encoded into a file, and read back by row", async () => {
  const content = Array.from(
    { length: 1000 },
    (_, i) => JSON.stringify({ prompt: `p${i} ${"ä".repeat(i % 200)}`, completion: `c${i}` }),
  ).join("\n");
  await inFolder({ "train.jsonl": content }, async (path) => {
    using source = FileSource.open(join(path, "train.jsonl"));
    const data = await Dataset.open(source);
    assertEquals(data.count, 1000);
    assertEquals(await data.row(999), {
      kind: "completion",
      prompt: `p999 ${"ä".repeat(199)}`,
      completion: "c999",
    });
    const text = new LocalText(readTextFiles(TINY));
    using bytes = new TemporaryBytes(path);
    const inFile = await prepareRows(data, text, { maxLength: 999, store: new TokenStore(bytes) });
    const inMemory = await prepareRows(data, text, { maxLength: 999 });
    for (const i of [999, 0, 234]) {
      assertEquals(await inFile.rows.row(i), await inMemory.rows.row(i));
    }
    assertEquals([...Deno.readDirSync(path)].map(({ name }) => name), ["train.jsonl"]);
  });
});

Deno.test("A data set of 200 MB is indexed in a fraction of its size", async () => {
  await inFolder({}, async (path) => {
    const file = join(path, "train.jsonl");
    const line = JSON.stringify({ prompt: "x".repeat(900), completion: "y".repeat(90) }) + "\n";
    const block = line.repeat(1000);
    using out = await Deno.create(file);
    for (let i = 0; i < 200; i++) out.writeSync(new TextEncoder().encode(block));
    const script = `
      import { Dataset } from "./src/data/mod.ts";
      import { FileSource } from "./src/data/io/file_source.ts";
      const data = await Dataset.open(FileSource.open(${JSON.stringify(file)}));
      const peak = /VmHWM:\\s+(\\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))[1];
      console.log(JSON.stringify([data.count, Number(peak) / 1024]));`;
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-check", script],
    }).output();
    const [count, peakMb] = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals(count, 200_000);
    assert(peakMb < 190, `peaked at ${peakMb} MB`);
  });
});

Deno.test("FileSource names the file that cannot be read, and reports one that shrinks", async () => {
  assertThrows(() => FileSource.open("/no/such.jsonl"), StorageError, "/no/such.jsonl");
  for (const path of ["tests", "/dev/zero"]) {
    assertThrows(() => FileSource.open(path), BadInputError, `${path}: it is not a regular file`);
  }
  await inFolder({ "d.jsonl": "0123456789" }, async (path) => {
    using source = FileSource.open(join(path, "d.jsonl"));
    await Deno.truncate(join(path, "d.jsonl"), 4);
    await assertRejects(() => source.read(0, 10), StorageError, "shorter while it was read");
  });
});

Deno.test("readTextFiles() reads a model's tokenizer and template", () => {
  const files = readTextFiles(TINY);
  const text = new LocalText(files);
  assertEquals(text.info.eosId, 2);
  assertEquals(text.hasTemplate, true);
  assertEquals(new LocalText(readTextFiles("models/all-minilm-l6-v2-int8")).hasTemplate, false);
});

Deno.test("readTextFiles() finds a chat template wherever models keep it", async () => {
  const tokenizer = await Deno.readTextFile(join(TINY, "tokenizer.json"));
  const template = "{{ messages[0].content }}";
  const places: Record<string, string>[] = [
    { "chat_template.jinja": template, "tokenizer_config.json": `{"chat_template":"other"}` },
    { "tokenizer_config.json": JSON.stringify({ chat_template: template }) },
    {
      "tokenizer_config.json": JSON.stringify({
        chat_template: [{ name: "tool_use", template: "no" }, { name: "default", template }],
      }),
    },
    { "chat_template.json": JSON.stringify({ chat_template: template }) },
  ];
  for (const files of places) {
    await inFolder({ ...files, "tokenizer.json": tokenizer }, (path) => {
      assertEquals(readTextFiles(path).chatTemplate?.text, template);
    });
  }
  await inFolder({
    "tokenizer.json": tokenizer,
    "tokenizer_config.json": new TextDecoder().decode(jsonBytes({ chat_template: 5 })),
  }, (path) => {
    assertThrows(() => readTextFiles(path), BadInputError, `"chat_template" must be a text`);
  });
});

Deno.test("readTextFiles() says how to make a missing tokenizer.json", async () => {
  await inFolder({}, (path) => {
    assertThrows(() => readTextFiles(path), BadInputError, "has no tokenizer.json: write one");
  });
});

Deno.test("The quickstart's data has its size and nothing held out in the same words", async () => {
  const read = async (part: string) =>
    parseUtterances(await Deno.readTextFile(`models/quickstart/${part}.csv`));
  assertEquals(findings(await read("train"), await read("test")), []);
  using source = FileSource.open("models/quickstart/train.csv");
  const data = await Dataset.open(source, { task: "classification" });
  assertEquals([data.kind, data.labels.size], ["label", 12]);
});
