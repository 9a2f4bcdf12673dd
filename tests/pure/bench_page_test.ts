import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { verdict } from "../../scripts/bench/ceiling.ts";
import { benchmarksPage, pointsOf } from "../../scripts/bench/page.ts";
import { memorySpeedPlot, ticks } from "../../scripts/bench/plot.ts";
import {
  atLeast,
  atMost,
  type KeptReport,
  medianResult,
  reportJson,
  type TrainResult,
} from "../../scripts/bench/results.ts";
import { flopsOf, stepWork } from "../../scripts/bench/step_work.ts";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { BoundSizes } from "../../src/graph/size.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";

const ROTATION = Float32Array.from({ length: 36 }, (_, i) => 1 + i);

const RUN: TrainResult = {
  peer: "graft 1.0.0",
  task: "causal",
  dtype: "fast",
  targets: "q_proj,v_proj",
  rank: 8,
  alpha: 16,
  lr: 1e-3,
  batch: 8,
  epochs: 1,
  examples: 512,
  trainable_parameters: 460_800,
  wall_s: 50,
  tokens_per_s: 800,
  peak_rss_mb: 500,
  loss_first: 2.9,
  loss_last10: 1.4,
  losses: [2.9, 1.4],
  valid_loss: 1.57,
};
const PEER = { ...RUN, peer: "peft+torch 2", dtype: "float32", tokens_per_s: 200 };
const REPORT: KeptReport = {
  workload: "B1 q,v",
  about: "A run",
  measured_at: "2026-01-01T00:00:00.000Z",
  rounds: 3,
  graft: RUN,
  peers: [{ ...PEER, peak_rss_mb: 4000 }],
  goals: [atLeast("tok/s", 4, 3), atMost("memory", 0.2, 0.18)],
  tables: [{ title: "Rates", rows: [{ kernel: "u8s8", "GFLOP/s": 1012.3 }] }],
  notes: ["llama.cpp was not measured"],
  machine: {
    processor: "A CPU, 2 threads",
    memory_gb: 24,
    kernel: "6.1",
    deno: "2.9.6",
    graft: "1.0.0",
    peers: { torch: "2.13" },
  },
};

Deno.test("medianResult() has the mean of the accuracies, and each of them", () => {
  const run = (accuracy: number) => ({ ...RUN, accuracy, merged_accuracy: accuracy - 0.25 });
  const found = medianResult([run(0.5), run(0.75), run(1)]);
  assertEquals([found.accuracy, found.merged_accuracy], [0.75, 0.5]);
  assertEquals(found.accuracies, [0.5, 0.75, 1]);
  assertEquals(medianResult([run(0.5)]), run(0.5));
  const page = benchmarksPage([{ ...REPORT, graft: found }], undefined);
  assertStringIncludes(page, "| 0.7500 | 0.5000, 0.7500, 1.0000 | 0.5000 |");
});

Deno.test("medianResult() is the first run with the median speed and the largest memory", () => {
  const runs = [100, 300, 200].map((tokens_per_s, i) => ({
    ...RUN,
    tokens_per_s,
    peak_rss_mb: 10 * (i + 1),
    wall_s: 50 - i,
  }));
  const found = medianResult(runs);
  assertEquals([found.tokens_per_s, found.peak_rss_mb, found.wall_s], [200, 30, 50]);
});

Deno.test("reportJson() has graft's side under the names of the peer's script", () => {
  const found = JSON.parse(reportJson(REPORT));
  for (const key of Object.keys(RUN) as (keyof TrainResult)[]) {
    assertEquals(found[key], RUN[key], key);
  }
  assertEquals(found.workload, "B1 q,v");
  assertEquals(found.peers[0].dtype, "float32");
  assertEquals(found.goals.map(({ met }: { met: boolean }) => met), [true, false]);
});

Deno.test("benchmarksPage() shows goals, runs, tables, notes and the machine", () => {
  const page = benchmarksPage([REPORT], "benchmarks.svg");
  for (
    const line of [
      "| B1 q,v | tok/s | 4 | ≥ 3 | yes |",
      "| B1 q,v | memory | 0.2 | ≤ 0.18 | no |",
      "| graft fast | 512 | 800 | 500 | 1.5700 | 50 |",
      "| PEFT float32 | 512 | 200 | 4000 | 1.5700 | 50 |",
      "| u8s8 | 1012 |",
      "Not measured: llama.cpp was not measured.",
      "B1 q,v: A CPU, 2 threads, 24 GB, Linux 6.1, Deno 2.9.6, graft 1.0.0; peers: torch 2.13.",
      "![Peak memory against tokens per second](benchmarks.svg)",
    ]
  ) assertStringIncludes(page, line);
});

Deno.test("memorySpeedPlot() draws every side, more memory to the right, more speed upwards", () => {
  const points = pointsOf([REPORT]);
  assertEquals(points.map(({ side, workload }) => `${side}: ${workload}`), [
    "graft fast: q,v",
    "PEFT float32: q,v",
  ]);
  const picture = memorySpeedPlot(points);
  assertStringIncludes(picture, "graft fast, q,v: 800 tok/s, 500 MB");
  const at = [
    ...picture.matchAll(/<title>[^<]*tok\/s[^<]*<\/title><circle cx="([\d.]+)" cy="([\d.]+)"/g),
  ]
    .map(([, x, y]) => [Number(x), Number(y)]);
  assertEquals(at.length, 2);
  const [[ownX, ownY], [peerX, peerY]] = at;
  assert(ownX < peerX && ownY < peerY, String(at));
  // Every element that is opened is closed.
  for (const name of ["svg", "g", "text", "title"]) {
    const opened = picture.match(new RegExp(`<${name}[ >]`, "g"))!.length;
    assertEquals(picture.match(new RegExp(`</${name}>`, "g"))!.length, opened, name);
  }
});

Deno.test("ticks() are round values between the ends", () => {
  assertEquals(ticks(150, 4200), [200, 500, 1000, 2000]);
});

Deno.test("verdict() tells what forbids a goal: the products, or the passes beside them", () => {
  const bounds = {
    setting: "exact" as const,
    computed: "as trained" as const,
    rows: 480,
    products: 600,
    withPasses: 450,
    seconds: { products: 1, passes: 1 / 3 },
    gflop: 300,
    tokens: 600,
  };
  assertEquals(
    verdict(bounds, 622),
    "out of reach: needs 622 tok/s; the products alone allow 600",
  );
  assertStringIncludes(verdict(bounds, 500), "its passes over memory allow 450");
  assertStringIncludes(verdict(bounds, 400), "the kernels allow it");
  // As where tiles find in a cache what a pass would bring.
  assertStringIncludes(verdict(bounds, 500, 510), "reached: needs 500 tok/s, is 510");
  assertStringIncludes(verdict(bounds, 500, 490), "its passes over memory allow 450");
});

Deno.test("stepWork() counts a call's products as often as it is called, and the bytes of the rest", () => {
  const b = new GraphBuilder(inferTraining);
  const x = b.input("x", "float32", [10, 4]);
  const product = b.op("Gemm", [x, b.input("w", "float32", [6, 4])], { transB: int(1) });
  const rotated = b.op("MatMul", [product, b.initializer("turn", float32([6, 6], ROTATION))]);
  const scores = b.microsoft("FusedMatMul", [x, x], { transB: int(1) });
  const graph = b.build("step", [b.reshape(b.op("Neg", [rotated]), [60]), scores]);
  const call = {
    key: "k",
    graph,
    feeds: new Map(),
    fetches: new Map(),
    label: "forward",
    sized: new Map(),
  };
  const work = stepWork([{ calls: [call, { ...call }], sizes: new BoundSizes(new Map()) }]);
  assertEquals(work.products.map(({ node, count, flops }) => [node.opType, count, flops]), [
    ["Gemm", 2, 2 * 10 * 6 * 4],
    ["FusedMatMul", 2, 2 * 10 * 10 * 4],
  ]);
  assertEquals(flopsOf(work), 960 + 1600);
  // The rotation reads 60 + 36 numbers and writes 60, the negation 60 and 60; a view costs nothing.
  assertEquals(work.passBytes, 2 * 4 * (60 + 36 + 60 + 60 + 60));
  assertEquals(work.meanBytes, 4 * 60);
});
