import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { BadInputError } from "../../src/errors.ts";
import { type ChildSettings, ChildSteps } from "../../src/service/child_steps.ts";
import { takeSnapshot } from "../../src/service/snapshot.ts";
import { pairs, requests } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const SPLIT = { validationSplit: 0.2 };

const lines = (path: string): string[] => Deno.readTextFileSync(path).trim().split("\n");

async function withData(
  files: Readonly<Record<string, string>>,
  body: (from: string, into: string) => Promise<void>,
): Promise<void> {
  await inTempDir(async (path) => {
    const from = join(path, "data");
    Deno.mkdirSync(from);
    for (const [name, text] of Object.entries(files)) {
      Deno.writeTextFileSync(join(from, name), text);
    }
    await body(from, join(path, "copy"));
  });
}

Deno.test("takeSnapshot() joins files of several kinds and holds prompts out", () =>
  withData({
    "a.jsonl": '{"text": "one", "label": "x", "note": 1}\n\n{"text": "two", "label": "y"}\n',
    "b.csv": requests(30),
    ".part.jsonl": "half a row",
    "notes.txt": "no data",
  }, async (from, into) => {
    const snapshot = await takeSnapshot(from, into, SPLIT);
    const [train, valid] = ["train", "valid"].map((part) => lines(join(into, `${part}.jsonl`)));
    assertEquals([train.length, valid.length], [snapshot!.rows, snapshot!.heldOut]);
    assertEquals(train.length + valid.length, 32);
    const texts = (rows: string[]) => new Set(rows.map((row) => JSON.parse(row).text));
    assertEquals(texts(train).intersection(texts(valid)).size, 0);
    assert([...train, ...valid].includes('{"text": "one", "label": "x", "note": 1}'));
    assert([...train, ...valid].includes('{"text":"open my card now","label":"open"}'));
  }));

Deno.test("takeSnapshot() holds out no class of which nothing would be left to learn from", () =>
  withData({ "a.csv": requests(30) }, async (from, into) => {
    await takeSnapshot(from, `${into}-1`, SPLIT);
    const [heldOut] = lines(join(`${into}-1`, "valid.jsonl"));
    const { text } = JSON.parse(heldOut);
    const renamed = Deno.readTextFileSync(join(from, "a.csv"))
      .replace(new RegExp(`^${text},.*$`, "m"), `${text},tpyo`);
    Deno.writeTextFileSync(join(from, "a.csv"), renamed);
    await takeSnapshot(from, `${into}-2`, SPLIT);
    const labelsIn = (part: string) =>
      new Set(lines(join(`${into}-2`, `${part}.jsonl`)).map((row) => JSON.parse(row).label));
    assert(labelsIn("train").has("tpyo"));
    assertEquals(labelsIn("valid").difference(labelsIn("train")).size, 0);
    assert(labelsIn("valid").size > 0);
  }));

Deno.test("takeSnapshot() leaves a row on its side when data is added", () =>
  withData({ "a.jsonl": pairs(20) }, async (from, into) => {
    const first = await takeSnapshot(from, `${into}-1`, SPLIT);
    const heldOut = lines(join(`${into}-1`, "valid.jsonl"));
    assertEquals((await takeSnapshot(from, `${into}-2`, SPLIT))?.digest, first?.digest);
    const more = Array.from(
      { length: 50 },
      (_, i) => `${JSON.stringify({ prompt: `question ${i}`, completion: "answer" })}\n`,
    ).join("");
    Deno.writeTextFileSync(join(from, "b.jsonl"), more);
    const second = await takeSnapshot(from, `${into}-3`, SPLIT);
    assert(second?.digest !== first?.digest);
    const now = new Set(lines(join(`${into}-3`, "valid.jsonl")));
    assertEquals(heldOut.filter((row) => !now.has(row)), []);
    const old = new Set(pairs(20).trim().split("\n"));
    assertEquals([...now].filter((row) => old.has(row)).length, heldOut.length);
  }));

Deno.test("takeSnapshot() takes valid and test files as they are, and scores guessing on them", () =>
  withData({
    "train.csv": "text,label\na,x\nb,x\nc,y\n",
    "valid.csv": "text,label\nd,x\n",
    "test.jsonl": '{"text": "e", "label": "y"}\n',
  }, async (from, into) => {
    const snapshot = await takeSnapshot(from, into, SPLIT);
    assertEquals([snapshot?.rows, snapshot?.heldOut], [3, 2]);
    assertEquals(lines(join(into, "test.jsonl")), ['{"text": "e", "label": "y"}']);
    // x: (2 + 1) / (3 + 2), y: (1 + 1) / (3 + 2)
    assertAlmostEquals(snapshot!.guessLoss!, -(Math.log(3 / 5) + Math.log(2 / 5)) / 2);
  }));

Deno.test("takeSnapshot() finds no data where there is none, and refuses what is no data by its place", async () => {
  await withData({ "valid.jsonl": pairs(1) }, async (from, into) => {
    assertEquals(await takeSnapshot(from, into, SPLIT), undefined);
    assertEquals(await takeSnapshot(join(from, "missing"), into, SPLIT), undefined);
  });
  await withData({ "a.jsonl": `${pairs(1)}{"prompt": 7}\n` }, async (from, into) => {
    await assertRejects(() => takeSnapshot(from, into, SPLIT), BadInputError, "a.jsonl:2");
  });
  await withData({ "a.jsonl": pairs(1) }, async (from, into) => {
    await assertRejects(
      () => takeSnapshot(from, into, SPLIT),
      BadInputError,
      "all have one prompt",
    );
  });
});

Deno.test("ChildSteps.snapshot() goes on without the digests of what the model in use learned, if they are damaged", () =>
  withData({ "a.csv": requests(30) }, async (from, into) => {
    const model = `${into}-model`;
    const damages: readonly ((path: string) => unknown)[] = [
      (path) => Deno.writeFileSync(path, new Uint8Array(7)),
      (path) => Deno.mkdirSync(path),
      (path) => Deno.symlinkSync("nowhere", path),
      (path) => new Deno.Command("mkfifo", { args: [path] }).outputSync(),
    ];
    for (const [i, damage] of damages.entries()) {
      Deno.mkdirSync(model);
      damage(join(model, "rows"));
      const settings = { data: from, trainConfig: "", ...SPLIT } as ChildSettings;
      using steps = new ChildSteps(settings, () => {}, AbortSignal.abort());
      const snapshot = await steps.snapshot(`${into}-${i}`, model);
      assertEquals(snapshot?.forgotten, 0);
      Deno.removeSync(model, { recursive: true });
    }
  }));
