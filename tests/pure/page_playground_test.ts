import { assert, assertEquals } from "@std/assert";
import { choicesOf, shownKeys } from "../../src/http/page/playground/choices.js";
import { cosine } from "../../src/http/page/playground/cosine.js";
import { EventParser } from "../../src/http/page/shared/event_parser.js";
import { EventList } from "../../src/http/page/jobs/event_list.js";
import { lastValue, trainingSeries } from "../../src/http/page/jobs/training_series.js";

const props = (adapters: boolean) => ({
  model_alias: "base",
  base_model: "base",
  model_kind: "causal" as const,
  total_slots: 1,
  max_concurrent_requests: 1,
  default_generation_settings: { n_ctx: 1, n_predict: 1 },
  features: {
    chat: true,
    adapters,
    adapter_loading: adapters,
    adapter_merging: false,
    fine_tuning: false,
  },
  build_info: "",
});

const adapter = (name: string, scale: number) => ({
  id: 0,
  name,
  path: "",
  scale,
  rank: 1,
  adapter_generation: 1,
  previous_path: null,
  way: "bound" as const,
  merge: null,
  gain_kept: null,
  ms_per_token: null,
  mixable: true,
});

const MODELS = [
  { id: "base", parent: null },
  { id: "lamp", parent: "base" },
  { id: "mill", parent: "base" },
  { id: "merged", parent: null },
];

Deno.test("choicesOf() asks the base without the mix, and with it where there is one", () => {
  const unmixed = choicesOf(MODELS, [adapter("lamp", 0)], props(true));
  assertEquals(unmixed.map(({ kind, label, body }) => [kind, label, body]), [
    ["base", "base", { model: "base", lora: [] }],
    ["adapter", "lamp", { model: "lamp" }],
    ["adapter", "mill", { model: "mill" }],
    ["model", "merged", { model: "merged" }],
  ]);
  const mixed = choicesOf(MODELS, [adapter("lamp", 0.5)], props(true));
  assertEquals(mixed[1].body, { model: "base" });
  assertEquals(new Set(mixed.map(({ key }) => key)).size, mixed.length);
  // What a round of the service has promoted answers requests that name no model, and takes no scales.
  const promoted = [{ id: "0001", parent: null }, ...MODELS.slice(0, 1)];
  assertEquals(
    choicesOf(promoted, [], { ...props(true), model_alias: "0001" }).map(({ body }) => body),
    [{ model: "0001" }, { model: "base", lora: [] }],
  );
  // A server without adapters refuses scales.
  assertEquals(choicesOf(MODELS.slice(0, 1), [], props(false))[0].body, { model: "base" });
});

Deno.test("shownKeys() begins with one choice of each kind, and keeps to what was chosen", () => {
  const choices = choicesOf(MODELS, [], props(true));
  assertEquals(shownKeys(choices, undefined), ["base base", "adapter lamp", "model merged"]);
  assertEquals(shownKeys(choices.slice(0, 3), undefined), [
    "base base",
    "adapter lamp",
    "adapter mill",
  ]);
  assertEquals(shownKeys(choices, ["adapter gone", "adapter mill"]), ["adapter mill"]);
  assertEquals(shownKeys(choices, []), []);
});

Deno.test("EventParser reads events wherever they are cut", () => {
  const text = ': hello\n\ndata: {"a": 1}\n\ndata:two\r\n\r\nevent: x\ndata: [DONE]\n\ndata: cut';
  const expected = ['{"a": 1}', "two", "[DONE]"];
  for (let size = 1; size <= text.length; size++) {
    const parser = new EventParser();
    const found: string[] = [];
    for (let i = 0; i < text.length; i += size) found.push(...parser.push(text.slice(i, i + size)));
    assertEquals(found, expected, `${size} characters at a time`);
  }
});

Deno.test("trainingSeries() has a value or none for each step, and the last of those that were repeated", () => {
  let id = 0;
  const event = (data: Record<string, number> | null) => ({
    id: `${id++}`,
    created_at: 0,
    level: "info" as const,
    message: "",
    data,
  });
  const series = trainingSeries([
    event(null),
    event({ step: 0, valid_loss: 5 }),
    event({ step: 1, train_loss: 4, learning_rate: 0.1 }),
    event({ step: 2, train_loss: 3, learning_rate: 0.2 }),
    event({ step: 2, valid_loss: 3.5 }),
    event({ step: 1, train_loss: 3.9, learning_rate: 0.1 }),
  ]);
  assertEquals(series.steps, [0, 1, 2]);
  assertEquals(series.trainLoss, [null, 3.9, 3]);
  assertEquals(series.validLoss, [5, null, 3.5]);
  assertEquals(series.learningRate, [null, 0.1, 0.2]);
  assertEquals([lastValue(series.trainLoss), lastValue([null]), lastValue([])], [
    3,
    undefined,
    undefined,
  ]);
});

Deno.test("cosine() is 1 along, 0 across and -1 against, whatever the lengths", () => {
  assert(Math.abs(cosine([1, 2], [2, 4]) - 1) < 1e-12);
  assertEquals(cosine([1, 0], [0, 3]), 0);
  assert(Math.abs(cosine([1, 2], [-1, -2]) + 1) < 1e-12);
  assertEquals(cosine([0, 0], [1, 1]), 0);
});

Deno.test("EventList fetches all pages of a job once, and then only what is new", async () => {
  const all = Array.from({ length: 250 }, (_, i) => ({ id: `e${i}` }));
  const asked: string[] = [];
  // As the server does: the newest first, 100 at a time.
  const get = (path: string) => {
    asked.push(path);
    const query = new URL(path, "http://x").searchParams;
    const newest = all.toReversed();
    const start = newest.findIndex(({ id }) => id === query.get("after")) + 1;
    const data = newest.slice(start, start + Number(query.get("limit")));
    const has_more = start + data.length < all.length;
    return Promise.resolve({ data, has_more, last_id: data.at(-1)?.id });
  };
  const list = new EventList("job/1", get);
  const { signal } = new AbortController();
  const ids = async () => (await list.fetch(signal)).map(({ id }) => id);
  assertEquals(await ids(), all.map(({ id }) => id));
  assertEquals(asked.length, 3);
  assert(asked[0].startsWith("v1/fine_tuning/jobs/job%2F1/events?"));
  all.push({ id: "new" });
  assertEquals(await ids(), all.map(({ id }) => id));
  assertEquals(asked.length, 4);
  for (let i = 0; i < 120; i++) all.push({ id: `late${i}` });
  assertEquals(await ids(), all.map(({ id }) => id));
  assertEquals(asked.length, 6);
});
