import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  bestCandidate,
  type Candidate,
  chooseCandidate,
  gainKept,
  gainKeptInterval,
  largestDifference,
  sameBest,
} from "../../src/lora/merge/mod.ts";
import {
  certificateJson,
  type Decision,
  formatCertificate,
} from "../../src/lora/merge/certificate_report.ts";

const figures = (loss: number, accuracy?: number) => ({
  loss,
  count: 100,
  logits: Float32Array.of(loss, -loss),
  ...(accuracy === undefined ? {} : { accuracy }),
});

const matrix = {
  paths: ["layer.0.q_proj"],
  weight: "w",
  rows: 4,
  cols: 8,
  bits: 4,
  deltaNorm: 1,
  relativeDelta: 0.02,
  requantisationError: 0.5,
  outputError: 0.25,
  changedCodes: 0.1,
  changed: true,
};

const candidate = (method: Candidate["method"], sizeBytes: number, loss: number): Candidate => ({
  method,
  sizeBytes,
  matrices: [matrix],
  evaluated: figures(loss),
});

/** Base at loss 2, adapter at 1. */
const measured = (...candidates: Candidate[]) => ({
  baseSizeBytes: 100,
  base: figures(2),
  adapter: figures(1),
  candidates,
});

Deno.test("gainKept() is the share of the loss difference that is left", () => {
  assertAlmostEquals(gainKept(figures(2), figures(1), figures(1.25))!, 0.75);
  assertAlmostEquals(gainKept(figures(2), figures(1), figures(2.5))!, -0.5);
  assertEquals(gainKept(figures(1), figures(1), figures(1)), undefined);
  assertEquals(gainKept(figures(1), figures(2), figures(1)), undefined);
});

Deno.test("gainKeptInterval() holds the share, is wider where parts differ, and needs some parts", () => {
  const of = (losses: readonly number[]) => ({
    ...figures(losses.reduce((sum, loss) => sum + loss, 0) / losses.length),
    partLosses: losses,
  });
  const [base, adapter] = [of(Array(20).fill(2)), of(Array(20).fill(1))];
  const even = gainKeptInterval(base, adapter, of(Array(20).fill(1.1)))!;
  assertAlmostEquals(even[0], 0.9);
  assertAlmostEquals(even[1], 0.9);
  const uneven = of(Array.from({ length: 20 }, (_, i) => i % 2 === 0 ? 1 : 1.2));
  const [low, high] = gainKeptInterval(base, adapter, uneven)!;
  // A mean of 20 shares of 0.8 or 1: standard error 0.022.
  assert(low > 0.84 && low < 0.88 && high > 0.92 && high < 0.96, `${low} to ${high}`);
  assertEquals(gainKeptInterval(of([2, 2]), of([1, 1]), of([1, 1])), undefined);
  assertEquals(gainKeptInterval(base, adapter, figures(1)), undefined);
});

Deno.test("sameBest() is the share of targets with the same largest logit", () => {
  const of = (...logits: number[]) => ({
    ...figures(1),
    logits: Float32Array.from(logits),
    logitRows: 2,
  });
  assertEquals(sameBest(of(1, 2, 0, 5, 4, 3), of(0, 1, 0, 1, 9, 0)), 0.5);
  assertEquals(sameBest(of(1, 2, 0, 5, 4, 3), of(1, 2, 0, 5, 4, 3)), 1);
  assertEquals(sameBest(figures(1), figures(1)), undefined);
});

Deno.test("chooseCandidate() takes the smallest that keeps enough, of equal ones the best", () => {
  const [nearest, compensated, wide] = [
    candidate("nearest", 100, 1.5),
    candidate("compensated", 100, 1.08),
    candidate("8bit", 120, 1.01),
  ];
  const all = measured(wide, nearest, compensated);
  assertEquals(chooseCandidate(all, 0.9), compensated);
  assertEquals(chooseCandidate(all, 0.95), wide);
  assertEquals(chooseCandidate(all, 0.995), wide, "none keeps it: the one that keeps most");
  assertEquals(chooseCandidate(measured(nearest), 0.995), undefined, "below 90%");
  assertEquals(chooseCandidate(measured(nearest), 0.5), nearest, "less was aimed at");
  assertEquals(bestCandidate(all), wide);
  assertEquals(
    chooseCandidate(measured(nearest, candidate("compensated", 100, 1.4)), 0.5)?.method,
    "compensated",
  );
});

Deno.test("chooseCandidate() judges by loss alone where the adapter gains nothing", () => {
  const without = { baseSizeBytes: 100, base: figures(1), adapter: figures(1.2) };
  const near = candidate("nearest", 100, 1.205);
  assertEquals(chooseCandidate({ ...without, candidates: [near] }), near);
  const far = candidate("nearest", 100, 1.3);
  assertEquals(chooseCandidate({ ...without, candidates: [far] }), undefined);
});

Deno.test("chooseCandidate() takes the smallest where nothing was measured", () => {
  const small = { ...candidate("nearest", 100, 0), evaluated: undefined };
  const large = { ...candidate("8bit", 120, 0), evaluated: undefined };
  assertEquals(chooseCandidate({ baseSizeBytes: 100, candidates: [large, small] }), small);
});

Deno.test("largestDifference() is the largest distance of two logits", () => {
  assertEquals(largestDifference(Float32Array.of(1, 2, 3), Float32Array.of(1, -2, 3.5)), 4);
});

const latency = {
  milliseconds: 2,
  baseMilliseconds: 2,
  ratio: 1.004,
  controlRatio: 0.998,
  rounds: 40,
};

const decision: Decision = {
  measured: measured(
    { ...candidate("nearest", 100, 1.5), latency },
    { ...candidate("8bit", 120, 1.01), latency },
  ),
  chosen: { ...candidate("nearest", 100, 1.5), latency },
  minGainKept: 0.9,
  forced: true,
  baseDigest: "sha256:00",
  adapters: [{ label: "adapters", weight: 1 }],
};

Deno.test("formatCertificate() names larger files as a help where there are fewer than 8 bits", () => {
  const lineFor = (bits: number) => {
    const chosen = { ...candidate("nearest", 100, 1.05), matrices: [{ ...matrix, bits }] };
    const short = {
      ...decision,
      measured: measured(chosen),
      chosen,
      minGainKept: 0.99,
      forced: false,
    };
    return formatCertificate(short).at(-1)!;
  };
  assert(
    lineFor(4).endsWith(
      "more training data to tune with helps, or allowLarger; " +
        "an adapter of scales (train.adapterType: scales) merges exactly",
    ),
    lineFor(4),
  );
  assert(lineFor(8).endsWith("more training data to tune with helps"), lineFor(8));
});

Deno.test("certificates say why a merged model is slower than its base, and nothing where it is not", () => {
  const reasonOf = (ratio: number, controlRatio: number, more: Partial<Decision> = {}) => {
    const chosen = {
      ...candidate("nearest", 100, 1.5),
      latency: { ...latency, ratio, controlRatio },
    };
    const decided = { ...decision, chosen, ...more };
    const reason: string | null = JSON.parse(certificateJson(decided)).slower_because;
    const line = formatCertificate(decided).find((text) => text.startsWith("Slower by"));
    assertEquals(line?.slice(line.indexOf(":") + 2), reason ?? undefined);
    return reason;
  };
  assertEquals(reasonOf(1.01, 1), null);
  assert(reasonOf(1.03, 0.96)?.startsWith("the base differs as much from itself"));
  assert(reasonOf(1.03, 1.01)?.endsWith("the machine was busy: time it again"));
  assertEquals(reasonOf(1.03, 1, { addsHead: true }), "it has the adapter's new head");
});

Deno.test("certificateJson() holds what the merge is judged by, per candidate and per matrix", () => {
  const json = JSON.parse(certificateJson(decision));
  assertEquals(json.method, "nearest");
  assertEquals(json.forced, true);
  assertEquals(json.held_out.base, { loss: 2 });
  const [nearest, wide] = json.candidates;
  assertEquals([nearest.gain_kept, nearest.size_ratio], [0.5, 1]);
  assertAlmostEquals(wide.gain_kept, 0.99);
  assertEquals(nearest.latency.ratio, 1.004);
  assertEquals(nearest.latency.control_ratio, 0.998);
  assertEquals(json.matrices, [{
    modules: ["layer.0.q_proj"],
    weight: "w",
    shape: [4, 8],
    bits: 4,
    delta_norm: 1,
    relative_delta: 0.02,
    requantisation_error: 0.5,
    output_error: 0.25,
    changed_codes: 0.1,
  }]);
});

Deno.test("formatCertificate() prints a row for each model and says what was forced", () => {
  const lines = formatCertificate(decision);
  const row = (name: string) => lines.find((line) => line.includes(name))!;
  assert(/2\.0000 .*1\.000×/.test(row("base ")));
  assert(/1\.5000 .*50\.0% .*1\.000× .*1\.004×/.test(row("own bits, nearest")));
  assert(/1\.0100 .*99\.0% .*1\.200×/.test(row("8 bit")));
  assert(lines.some((line) => line.includes("because of force")));
});

Deno.test("certificates say that losses are of floats where the runtime may round, and what that changes", () => {
  assert(!formatCertificate(decision).some((line) => line.includes("round them")));
  const { base, adapter, ...rest } = decision.measured;
  const rounded = {
    ...decision,
    measured: {
      ...rest,
      base: { ...base!, roundingDifference: 0.02 },
      adapter: { ...adapter!, roundingDifference: 0.031 },
    },
  };
  assert(formatCertificate(rounded).some((line) => /may round them .* up to 3\.1%/.test(line)));
  const { held_out } = JSON.parse(certificateJson(rounded));
  assertEquals(held_out.base.rounding_difference, 0.02);
  assertEquals(held_out.adapter.rounding_difference, 0.031);
});
