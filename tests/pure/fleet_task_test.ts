import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import type { Setting } from "../../src/fleet/flower/records.ts";
import {
  type FleetLayer,
  formatLayers,
  joinVector,
  parseLayers,
  splitVector,
} from "../../src/fleet/rounds/layout.ts";
import { seededAdapter, startAdapter } from "../../src/fleet/rounds/start_adapter.ts";
import { readTask } from "../../src/fleet/rounds/task.ts";
import { TaskError } from "../../src/fleet/rounds/task_error.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import type { LoraWeights } from "../../src/lora/lora_weights.ts";
import { Random } from "../../src/random.ts";

const layersOf = (rank: number): FleetLayer[] => [
  { name: "layers.0.q_proj", rank, in: 6, out: 5 },
  { name: "layers.1.v_proj", rank, in: 4, out: 7 },
];

/** Numbers between -1 and 1. */
function vectorOf(layers: readonly FleetLayer[], seed: number): Float32Array<ArrayBuffer> {
  const random = Random.fromSeed(seed);
  const count = layers.reduce((sum, layer) => sum + layer.rank * (layer.in + layer.out), 0);
  return Float32Array.from({ length: count }, () => random.next() / 2 ** 31 - 1);
}

/** B·A / rank, which is the update but for alpha. */
function update({ a, b }: LoraWeights): Float64Array {
  const [rank, inputs] = a.dims;
  const [out] = b.dims;
  const [valuesA, valuesB] = [toNumbers(a), toNumbers(b)];
  return Float64Array.from({ length: out * inputs }, (_, i) => {
    const [n, k] = [Math.floor(i / inputs), i % inputs];
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += valuesB[n * rank + r] * valuesA[r * inputs + k];
    return sum / rank;
  });
}

const distance = (x: Float64Array, y: Float64Array) =>
  Math.hypot(...x.map((value, i) => value - y[i])) / Math.hypot(...x);

Deno.test("joinVector() puts A before B, layer after layer, and splitVector() takes them apart", () => {
  const layers = layersOf(2);
  const vector = Float32Array.from({ length: 2 * (6 + 5) + 2 * (4 + 7) }, (_, i) => i);
  const weights = splitVector(vector, layers, "AB") as ReadonlyMap<string, LoraWeights>;
  assertEquals([...toNumbers(weights.get("layers.0.q_proj")!.a)], [...Array(12).keys()]);
  assertEquals(weights.get("layers.0.q_proj")!.b.dims, [5, 2]);
  assertEquals(toNumbers(weights.get("layers.1.v_proj")!.a)[0], 22);
  assertEquals(joinVector(weights, layers, "AB"), vector);
  const onlyB = joinVector(weights, layers, "B");
  assertEquals(onlyB.length, 2 * 5 + 2 * 7);
  assertEquals(splitVector(onlyB, layers, "B").get("layers.1.v_proj")!.a, undefined);
  assertThrows(() => splitVector(onlyB, layers, "AB"), TaskError, "its layout has 44");
});

Deno.test("parseLayers() refuses what is no list of named layers with sizes", () => {
  assertEquals(parseLayers(formatLayers(layersOf(3))), layersOf(3));
  const layer = { name: "a", rank: 1, in: 2, out: 3 };
  const texts = [
    ...["{}", "[", "[1]", "[null]", '"a"'],
    ...[{ name: "" }, { name: 3 }, { rank: 0 }, { rank: 1e9 }, { in: -1 }, { out: 2.5 }, {
      out: "3",
    }].map((changed) => JSON.stringify([{ ...layer, ...changed }])),
    JSON.stringify([layer, layer]),
    JSON.stringify(Array(10_001).fill(layer)),
  ];
  for (const text of texts) assertThrows(() => parseLayers(text), TaskError);
});

Deno.test("startAdapter() keeps an update at its rank, whole at a larger and nearest at a smaller one", () => {
  const came = layersOf(3);
  const vector = vectorOf(came, 1);
  const start = (rank: number) =>
    startAdapter(
      { aggregation: "stack", layers: came, parts: "AB", seed: 4 },
      layersOf(rank),
      vector,
    );
  const whole = splitVector(vector, came, "AB") as ReadonlyMap<string, LoraWeights>;
  const [same, larger, smaller] = [start(3), start(5), start(2)];
  for (const { name } of came) {
    const expected = update(whole.get(name)!);
    assertEquals(same.get(name)!.a.bytes, whole.get(name)!.a.bytes);
    assertEquals(larger.get(name)!.a.dims[0], 5);
    assert(distance(expected, update(larger.get(name)!)) < 1e-6);
    // The two largest of three singular values are kept, which any other choice would keep less of.
    const lost = distance(expected, update(smaller.get(name)!));
    const found = update(smaller.get(name)!);
    const kept = Math.hypot(...found) ** 2 / Math.hypot(...expected) ** 2;
    assertAlmostEquals(kept + lost ** 2, 1, 1e-5);
    assert(kept > 2 / 3);
  }
});

Deno.test("startAdapter() starts a zero update of another rank as the seed does, so that it can be trained", () => {
  const came = layersOf(3);
  const vector = joinVector(seededAdapter(came, 9), came, "AB");
  const task = { aggregation: "stack", layers: came, parts: "AB", seed: 4 } as const;
  const own = layersOf(2);
  const start = startAdapter(task, own, vector);
  const seeded = seededAdapter(own, 4);
  for (const { name } of own) {
    assertEquals(start.get(name)!.a.bytes, seeded.get(name)!.a.bytes);
    assert([...toNumbers(start.get(name)!.b)].every((value) => value === 0));
  }
});

Deno.test("startAdapter() takes A from the seed where only B travels, alike on all boxes", () => {
  const layers = layersOf(2);
  const vector = Float32Array.from({ length: 24 }, (_, i) => i);
  const task = { aggregation: "private", layers, parts: "B", seed: 4 } as const;
  const [one, other] = [0, 1].map(() => startAdapter(task, layers, vector));
  const fresh = startAdapter(task, layers, undefined);
  for (const { name } of layers) {
    assertEquals(one.get(name)!.a.bytes, other.get(name)!.a.bytes);
    assertEquals(one.get(name)!.a.bytes, fresh.get(name)!.a.bytes);
  }
  assertEquals(toNumbers(one.get("layers.1.v_proj")!.b)[0], 10);
});

Deno.test("startAdapter() refuses adapters of other layers, and of another rank unless they are stacked", () => {
  const [two, three] = [layersOf(2), layersOf(3)];
  const vector = vectorOf(three, 1);
  const start = (layers: FleetLayer[], own: FleetLayer[], aggregation: "average" | "stack") =>
    startAdapter({ aggregation, layers, parts: "AB", seed: 0 }, own, vector);
  assertThrows(() => start(three, two, "average"), TaskError, "rank 3: this box trains rank 2");
  const renamed = [{ ...three[0], name: "x" }, three[1]];
  assertThrows(() => start(three, renamed, "stack"), TaskError, "Layer 0");
  assertThrows(() => start(three, three.slice(1), "stack"), TaskError, "2 layers");
});

const settings = (fields: Record<string, Setting>) => new Map(Object.entries(fields));

Deno.test("readTask() reads what the server sends, and what Flower's own strategies send", () => {
  const layers = layersOf(2);
  const task = readTask(
    "train",
    settings({
      ...{ "graft-protocol": 1, "round": 3, "aggregation": "stack", "rank": 2, "lora-alpha": 4 },
      ...{ "target-modules": ["q"], "learning-rate": 0.1, "max-steps": 5, "batch-size": 2 },
      ...{ "seed": 7, "base-digest": "", "unknown": "x" },
    }),
    settings({ layers: formatLayers(layers) }),
    44,
  );
  assertEquals(task.layers, layers);
  assertEquals([task.round, task.maxSteps, task.baseDigest, task.parts], [3, 5, undefined, "AB"]);
  const plain = readTask("evaluate", settings({ "server-round": 2 }), undefined, 0);
  assertEquals([plain.round, plain.aggregation, plain.layers, plain.rank], [
    ...[2, "average", undefined, undefined],
  ]);
});

Deno.test("readTask() refuses what it does not understand, naming it", () => {
  const cases: [Record<string, Setting>, string][] = [
    [{ "graft-protocol": 2 }, "speaks 1"],
    [{ "aggregation": "median" }, '"aggregation"'],
    [{ "rank": 0 }, '"rank"'],
    [{ "rank": 2.5 }, '"rank"'],
    [{ "max-steps": NaN }, '"max-steps"'],
    [{ "learning-rate": Infinity }, '"learning-rate"'],
    [{ "learning-rate": -1 }, '"learning-rate"'],
    [{ "seed": 2 ** 60 }, '"seed"'],
    [{ "target-modules": "q" }, '"target-modules"'],
    [{ "target-modules": [] }, '"target-modules"'],
    [{ "target-modules": ["q".repeat(201)] }, '"target-modules"'],
  ];
  for (const [fields, message] of cases) {
    assertThrows(() => readTask("train", settings(fields), undefined, 0), TaskError, message);
  }
  assertThrows(() => readTask("query", settings({}), undefined, 0), TaskError, "evaluate");
  const layout = settings({ layers: formatLayers(layersOf(2)) });
  assertThrows(() => readTask("train", settings({}), layout, 43), TaskError, "its layout has 44");
  const parts = settings({ layers: "[]", parts: "B" });
  assertThrows(() => readTask("train", settings({}), parts, 0), TaskError, '"parts"');
});
