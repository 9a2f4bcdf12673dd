import { assert, assertAlmostEquals, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { parseDuration } from "../../src/config/duration.ts";
import { ParameterError } from "../../src/errors.ts";
import { matrixOf, product, transposed } from "../../src/linalg/matrix.ts";
import { svd } from "../../src/linalg/svd.ts";
import { allocateRanks } from "../../src/search/allocate_ranks.ts";
import type { Candidate } from "../../src/search/candidate.ts";
import { sketchedSingularValues } from "../../src/search/gradient_sketch.ts";
import { isBetter, pairedDifference, tQuantile } from "../../src/search/paired_difference.ts";
import { pick, promoted } from "../../src/search/pick.ts";
import { reasonOf } from "../../src/search/reason.ts";
import { rungsOf } from "../../src/search/rungs.ts";
import { search, type SearchRules, type TrialEnd } from "../../src/search/search.ts";
import { searchPlot } from "../../src/search/search_plot.ts";
import { randomMatrix } from "../helpers/matrices.ts";

const candidate = (name: string, rank: number, parameters = 100 * rank): Candidate => ({
  ...{ name, rank, parameters, kind: "rank", targetModules: ["q"] },
  ...{ rankPattern: {}, alphaPattern: {} },
});

const RANKS = [1, 2, 4, 8, 16, 32, 64].map((rank) => candidate(`rank ${rank}`, rank));

const RULES: SearchRules = {
  seeds: [0, 1, 2],
  rungs: [10, 30, 90],
  reductionFactor: 3,
  stopsAtPlateau: true,
};

/** What a seed does to every candidate, and to one in particular: the latter is the noise of a pair. */
const shared = (seed: number) => [0.02, -0.05, 0.03][seed];
const own = (rank: number, seed: number) => 0.002 * Math.sin(7 * rank + 3 * seed);

/** A task that needs a rank of `needed`: below it each missing direction costs accuracy. */
function planted(needed: number, others: readonly Candidate[] = []) {
  const trained = new Map<string, number>();
  const calls: string[] = [];
  const dropped: string[] = [];
  const runner = {
    run({ name, rank }: Candidate, seed: number, steps: number): Promise<TrialEnd> {
      calls.push(`${name} seed ${seed} to ${steps}`);
      trained.set(`${name} ${seed}`, steps);
      const missing = Math.max(0, needed - rank) / needed;
      const score = 0.8 - 0.3 * missing - 1 / steps + shared(seed) + own(rank, seed);
      return Promise.resolve({ kind: "scored", score });
    },
    drop: ({ name }: Candidate) => void dropped.push(name),
  };
  const space = { ranks: RANKS, others: () => Promise.resolve(others) };
  return { runner, space, calls, dropped, trained };
}

Deno.test("search() finds the rank of a planted task and tries two larger ones at most", async () => {
  for (const needed of [1, 2, 4, 8]) {
    const task = planted(needed);
    const { picked, complete, standings } = await search(task.space, RULES, task.runner);
    assertEquals([picked?.candidate.rank, picked?.steps, complete], [needed, 90, true]);
    assertEquals(Math.max(...standings.map(({ candidate }) => candidate.rank)), 4 * needed);
  }
});

Deno.test("search() halves: each rung trains fewer candidates, all with every seed, for longer", async () => {
  const others = [candidate("q", 4, 200), candidate("all", 2, 190)];
  const task = planted(2, others);
  const { standings, finalists } = await search(task.space, RULES, task.runner);
  const at = (steps: number) =>
    new Set(
      task.calls.filter((call) => call.endsWith(` to ${steps}`))
        .map((call) => call.replace(/ seed.*/, "")),
    );
  assertEquals([...at(10)], ["rank 1", "rank 2", "rank 4", "rank 8", "q", "all"]);
  assertEquals([at(30).size, at(90).size, finalists.length], [2, 2, 2]);
  assertEquals(task.calls.length, 3 * (6 + 2 + 2));
  assertEquals(standings.length, 6);
  // Those that are behind at the first rung are dropped, once.
  assertEquals(task.dropped.length, 4);
  const steps = [...task.trained.values()].reduce((sum, one) => sum + one, 0);
  assert(steps < 8 * 90, `${steps} steps are not a small multiple of 90`);
});

Deno.test("search() without halving trains every candidate to its end", async () => {
  const task = planted(2);
  const rules = { ...RULES, rungs: [90], stopsAtPlateau: false };
  const { finalists, picked } = await search(task.space, rules, task.runner);
  assertEquals([finalists.length, task.calls.length], [7, 21]);
  assertEquals([picked?.candidate.rank, task.dropped], [2, []]);
});

Deno.test("search() leaves out what fails, and without time picks among what is known", async () => {
  const task = planted(4);
  const failing = {
    ...task.runner,
    run: (one: Candidate, seed: number, steps: number): Promise<TrialEnd> =>
      one.rank === 2
        ? Promise.resolve({ kind: "failed", reason: "no memory" })
        : task.runner.run(one, seed, steps),
  };
  const { failed, picked } = await search(task.space, RULES, failing);
  assertEquals(failed.map(({ candidate, reason }) => [candidate.rank, reason]), [[2, "no memory"]]);
  assertEquals(picked?.candidate.rank, 4);

  let left = 8;
  const short = {
    ...task.runner,
    run: (one: Candidate, seed: number, steps: number): Promise<TrialEnd> =>
      left-- > 0 ? task.runner.run(one, seed, steps) : Promise.resolve({ kind: "out of time" }),
  };
  const outcome = await search(task.space, RULES, short);
  // Two whole candidates; the third lacks a seed.
  assertEquals([outcome.complete, outcome.standings.length], [false, 2]);
  assertEquals(outcome.picked?.candidate.rank, 2);
  left = 1;
  assertEquals((await search(task.space, RULES, short)).picked, undefined);
});

Deno.test("pairedDifference() is Student's paired 95% interval", () => {
  // numpy: d = [.03, .01, .02]; mean .02; sd .01; 4.302653 · .01 / √3
  const { mean, halfWidth } = pairedDifference([0.53, 0.71, 0.62], [0.5, 0.7, 0.6]);
  assertAlmostEquals(mean, 0.02, 1e-12);
  assertAlmostEquals(halfWidth, 0.024841, 1e-6);
  assertEquals(isBetter([0.53, 0.71, 0.62], [0.5, 0.7, 0.6]), false);
  assertEquals(isBetter([0.53, 0.73, 0.631], [0.5, 0.7, 0.6]), true);
  assertEquals(pairedDifference([1], [0]).halfWidth, Infinity);
  assertThrows(() => pairedDifference([1, 2], [1]), RangeError, "Cannot pair 2 values with 1");
  // Beyond the table: scipy.stats.t.ppf(0.975, [31, 60, 1000])
  for (const [degrees, t] of [[31, 2.039513], [60, 2.000298], [1000, 1.962339]]) {
    assertAlmostEquals(tQuantile(degrees), t, 1e-4);
  }
});

Deno.test("pick() takes the cheapest that no other beats, promoted() always that one and the best", () => {
  const small = { candidate: candidate("small", 2), scores: [0.7, 0.72, 0.71] };
  const large = { candidate: candidate("large", 8), scores: [0.71, 0.72, 0.72] };
  const worse = { candidate: candidate("worse", 1), scores: [0.6, 0.61, 0.6] };
  assertEquals(pick([worse, small, large]), small);
  assertEquals(pick([worse, small]), small);
  // As many parameters, within a tenth: the better one.
  const alike = { candidate: candidate("alike", 2, 210), scores: [0.71, 0.73, 0.71] };
  assertEquals(pick([small, alike, large]), alike);
  assertEquals(promoted([worse, small, large], 3), [small, large]);
  assertThrows(() => pick([]), RangeError);
});

Deno.test("rungsOf() are a ninth, a third and the whole of the steps", () => {
  assertEquals(rungsOf(90, 3), [10, 30, 90]);
  assertEquals(rungsOf(100, 2), [25, 50, 100]);
  assertEquals(rungsOf(2, 3), [1, 2]);
  assertEquals(rungsOf(1, 3), [1]);
});

Deno.test("reasonOf() says in plain words what the rival gives and costs", () => {
  const small = { candidate: candidate("rank 4", 4), scores: [0.7, 0.72, 0.71] };
  const large = { candidate: candidate("rank 8", 8), scores: [0.71, 0.72, 0.71] };
  const text = reasonOf(small, [small, large], "accuracy");
  assertEquals(
    text,
    "rank 4: rank 8 is better by 0.3 ± 1.4 percentage points over 3 seeds, which may be chance, " +
      "for twice the parameters",
  );
  const losses = [[-0.5, -0.51], [-0.7, -0.72]].map((scores, i) => ({
    candidate: candidate(`rank ${8 >> i}`, 8 >> i),
    scores,
  }));
  assertMatch(
    reasonOf(losses[0], losses, "loss"),
    /^rank 8: rank 4 is worse by 0\.2050 ± 0\.0635 in loss over 2 seeds, for 50% of the parameters$/,
  );
  assertMatch(reasonOf(small, [small], "loss"), /nothing else was trained as long/);
});

Deno.test("sketchedSingularValues() are G's, exactly for a square A and nearly for a wide one", () => {
  const [out, inputs, scale] = [12, 48, 0.25];
  // Rank 3 with singular values far apart.
  const factors = randomMatrix(3, inputs, 2);
  factors.values.forEach((_, i) => factors.values[i] *= [9, 3, 1][Math.floor(i / inputs)]);
  const gradient = product(randomMatrix(out, 3, 1), factors);
  const expected = svd(gradient).s;
  for (const [rank, tolerance] of [[inputs, 1e-9], [24, 0.35]]) {
    const a = randomMatrix(rank, inputs, 3);
    const gradB = product(gradient, transposed(a));
    gradB.values.forEach((_, i) => gradB.values[i] *= scale);
    const found = sketchedSingularValues(gradB, a, scale);
    for (let i = 0; i < 3; i++) {
      assert(Math.abs(found[i] / expected[i] - 1) < tolerance, `${found[i]} for ${expected[i]}`);
    }
    assert(found[3] < 1e-9 * found[0]);
  }
  assertThrows(
    () => sketchedSingularValues(matrixOf(2, 3), matrixOf(3, 2), 1),
    RangeError,
    "dL/dB is [2, 3], A [3, 2]",
  );
});

Deno.test("allocateRanks() takes the largest singular values for their cost, within the budget", () => {
  const modules = [
    { path: "a", cost: 10, singularValues: [9, 8, 7, 6] },
    { path: "b", cost: 10, singularValues: [5, 1] },
    { path: "c", cost: 40, singularValues: [10, 0.1] },
  ];
  const ranks = (parameters: number, most = 8) =>
    Object.fromEntries(allocateRanks(modules, parameters, most));
  assertEquals(ranks(10), { a: 1, b: 0, c: 0 });
  assertEquals(ranks(50), { a: 4, b: 1, c: 0 });
  assertEquals(ranks(90), { a: 4, b: 1, c: 1 });
  assertEquals(ranks(30, 2), { a: 2, b: 1, c: 0 });
});

Deno.test("parseDuration() reads seconds, minutes and hours, and wants the unit", () => {
  assertEquals(["45s", "90m", "1.5h"].map((text) => parseDuration(text, "t")), [45, 5400, 5400]);
  for (const text of ["90", "0m", "-1h", "1d", "m"]) {
    assertThrows(
      () => parseDuration(text, "timeBudget"),
      ParameterError,
      `timeBudget must be a time like 45s, 90m or 1.5h: current value is "${text}"`,
    );
  }
});

Deno.test("searchPlot() draws each candidate against rank, parameters and time, names escaped", () => {
  const plotted = [1, 4].map((rank) => ({
    ...{ name: `rank ${rank} on <q>`, rank, parameters: 100 * rank, seconds: 3 },
    ...{ value: 0.7, least: 0.6, most: 0.8, finalist: rank === 4, picked: rank === 4 },
  }));
  const svg = searchPlot(plotted, "accuracy");
  assertEquals(svg.match(/<circle class="dot"/g)!.length, 3 * 2 + 3);
  assertMatch(svg, /accuracy against parameters of the adapter/);
  assert(!svg.includes("<q>") && svg.includes("on &#60;q&#62;: 70.0%"));
  assert(!/NaN|Infinity|undefined/.test(svg));
});
