import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { GraftError } from "../../src/errors.ts";
import type { MessageHeader } from "../../src/fleet/flower/message.ts";
import type { Setting } from "../../src/fleet/flower/records.ts";
import type { BoxSettings } from "../../src/fleet/rounds/box_config.ts";
import { countNumbers, parseLayers } from "../../src/fleet/rounds/layout.ts";
import type { RunTaskOptions } from "../../src/fleet/rounds/run_task.ts";
import { seededAdapter } from "../../src/fleet/rounds/start_adapter.ts";
import { Spool, type SpooledReply } from "../../src/fleet/rounds/spool.ts";
import { workOnTask } from "../../src/fleet/rounds/work_on_task.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs } from "../helpers/training_runs.ts";

const ROUND = {
  ...{ "round": 1, "rank": 2, "lora-alpha": 4, "max-steps": 4, "batch-size": 3, "seed": 5 },
  ...{ "learning-rate": 0.01, "target-modules": ["q"] },
};

function headerOf(type: string, id = "a"): MessageHeader {
  const expires = Date.now() / 1000 + 600;
  return { runId: 1n, messageId: id.repeat(64), from: 1n, to: 2n, group: "", type, expires };
}

/** A box with rows. */
function boxIn(folder: string): BoxSettings {
  Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(6));
  Deno.writeTextFileSync(join(folder, "valid.jsonl"), pairs(4));
  const training = { threads: 1, saveEvery: 1 };
  return { model: modelDir("tiny-llama-genai-int4"), data: folder, training };
}

interface Asked {
  readonly type?: string;
  readonly config?: Record<string, Setting>;
  readonly after?: SpooledReply;
  readonly header?: MessageHeader;
}

/** Puts a task into a spool. */
function ask(
  folder: string,
  { type = "train", config = {}, after, header = headerOf(type) }: Asked,
): Spool {
  const spool = new Spool(join(folder, "state"));
  spool.putTask({
    header,
    config: new Map<string, Setting>(Object.entries({ ...ROUND, ...config })),
    layout: after?.layout,
    adapter: after?.adapter,
  });
  return spool;
}

const never = new AbortController().signal;

/** The reply of a box to a task. */
async function replyTo(
  folder: string,
  asked: Asked,
  box: BoxSettings,
  options: Partial<RunTaskOptions> = {},
): Promise<SpooledReply> {
  const spool = ask(folder, asked);
  assertEquals(await workOnTask(spool, () => box, { signal: never, ...options }), "replied");
  assert(!spool.hasTask());
  const reply = spool.readReply()!;
  spool.removeReply();
  assertEquals([...Deno.readDirSync(spool.folder)], []);
  return reply;
}

Deno.test("workOnTask() trains the adapter that came, and evaluates to the loss that training ended with", () =>
  inTempDir(async (folder) => {
    const box = boxIn(folder);
    const first = await replyTo(folder, {}, box);
    const layers = parseLayers(String(first.layout!.get("layers")));
    assertEquals(first.adapter!.length, countNumbers(layers, "AB"));
    assertEquals(first.metrics!.get("num-examples"), 6);
    assert(first.metrics!.get("loss-after")! < first.metrics!.get("loss-before")!);
    const savePath = join(folder, "kept");
    const found = await replyTo(folder, { type: "evaluate", after: first }, box, { savePath });
    assertAlmostEquals(found.metrics!.get("loss")!, first.metrics!.get("loss-after")!, 1e-5);
    assertEquals(found.metrics!.get("num-examples"), 4);
    const { lora } = loadAdapter(savePath).adapter;
    assertEquals([...lora.keys()].sort(), layers.map(({ name }) => name).sort());
    // The next round starts where this one ended.
    const second = await replyTo(folder, { after: first, config: { round: 2 } }, box);
    const before = second.metrics!.get("loss-before")!;
    assertAlmostEquals(before, first.metrics!.get("loss-after")!, 1e-5);
  }));

Deno.test("workOnTask() in private sends B alone, trained over the A of the seed", () =>
  inTempDir(async (folder) => {
    const box = boxIn(folder);
    const config = { aggregation: "private" };
    const savePath = join(folder, "kept");
    const first = await replyTo(folder, { config }, box);
    const layers = parseLayers(String(first.layout!.get("layers")));
    assertEquals(first.layout!.get("parts"), "B");
    assertEquals(first.adapter!.length, countNumbers(layers, "B"));
    const found = await replyTo(folder, { type: "evaluate", config, after: first }, box, {
      savePath,
    });
    assertAlmostEquals(found.metrics!.get("loss")!, first.metrics!.get("loss-after")!, 1e-5);
    const { lora } = loadAdapter(savePath).adapter;
    for (const [name, { a }] of seededAdapter(layers, 5)) assertEquals(lora.get(name)!.a, a);
    const { rank: _, ...rest } = { ...box, rank: 3 };
    const other = await replyTo(folder, { config }, { ...rest, rank: 3 });
    assertEquals(other.error!.code, 101);
  }));

Deno.test("workOnTask() goes on with a training that was stopped, and gives up one that was withdrawn", () =>
  inTempDir(async (folder) => {
    const box = boxIn(folder);
    const whole = await replyTo(folder, {}, box);
    const spool = ask(folder, {});
    const stop = new AbortController();
    const options = {
      signal: stop.signal,
      onEvent: ({ kind }: { kind: string }) => kind === "checkpoint" && stop.abort(),
    };
    assertEquals(await workOnTask(spool, () => box, options), "stopped");
    assert(spool.hasTask() && !spool.hasReply());
    const kinds: string[] = [];
    await workOnTask(spool, () => box, { signal: never, onEvent: ({ kind }) => kinds.push(kind) });
    assert(kinds.includes("resumed"));
    assertEquals(spool.readReply()!.adapter, whole.adapter);
    spool.removeReply();
    // Killed again and again before it ended.
    ask(folder, {});
    Deno.mkdirSync(spool.work);
    Deno.writeTextFileSync(join(spool.work, "task"), "a".repeat(64));
    Deno.writeTextFileSync(join(spool.work, "attempts"), "3");
    await workOnTask(spool, () => box, { signal: never });
    assertEquals(spool.readReply()!.error!.reason, "The training was killed 3 times");
    spool.removeReply();
    ask(folder, { config: { "max-steps": 100_000 } });
    const withdraw = ({ kind }: { kind: string }) => kind === "started" && spool.removeTask();
    const end = await workOnTask(spool, () => box, { signal: never, onEvent: withdraw });
    assertEquals(end, "withdrawn");
    assertEquals([...Deno.readDirSync(spool.folder)], []);
  }));

Deno.test("workOnTask() says why it cannot, and nothing of the box", () =>
  inTempDir(async (folder) => {
    const box = boxIn(folder);
    const refused = async (asked: Asked, other: BoxSettings = box) =>
      (await replyTo(folder, asked, other)).error!;
    const digest = { "base-digest": `sha256:${"0".repeat(64)}` };
    assertEquals((await refused({ config: digest })).code, 101);
    assertEquals((await refused({ config: { aggregation: "sum" } })).code, 101);
    const closed = { ...box, training: { ...box.training, window: closedWindow() } };
    assertEquals((await refused({}, closed)).code, 102);
    const unread = { ...box, data: join(folder, "secret-place") };
    const spool = ask(folder, {});
    await assertRejects(
      () => workOnTask(spool, () => unread, { signal: never }),
      GraftError,
      "secret",
    );
    const { error } = spool.readReply()!;
    assertEquals(error!.code, 103);
    assert(!error!.reason.includes("secret"));
  }));

/** Hours of the day that do not come within the next. */
function closedWindow(): string {
  const hour = (new Date().getHours() + 6) % 24;
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(hour)}:00-${two((hour + 1) % 24)}:00`;
}
