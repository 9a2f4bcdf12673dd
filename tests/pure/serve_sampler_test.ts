import { assert, assertEquals, assertThrows } from "@std/assert";
import { scoresOf } from "../../src/serve/log_probabilities.ts";
import { mostLikely } from "../../src/serve/most_likely.ts";
import { sample, validateSampling } from "../../src/serve/sampler.ts";
import { argmax } from "../../src/statistics.ts";
import { StopStrings } from "../../src/serve/generate.ts";
import { Random } from "../../src/random.ts";

const logits = () => Float32Array.from([0, 2, 1, -1, 2]);
const seen = (...prompt: number[]) => ({ prompt, generated: [] });
const never = () => {
  throw new Error("greedy sampling draws nothing");
};

/** How often each token is drawn of 4,000 times. */
function shares(options: Parameters<typeof sample>[2]): number[] {
  const random = Random.fromSeed(11);
  const counts = new Array(5).fill(0);
  for (let i = 0; i < 4000; i++) {
    counts[sample(logits(), seen(), options, () => random.next() / 2 ** 32)]++;
  }
  return counts.map((count) => count / 4000);
}

Deno.test("sample() is greedy at temperature 0 and takes the first of equals", () => {
  assertEquals(sample(logits(), seen(), {}, never), 1);
  assertEquals(argmax([3, 3]), 0);
});

Deno.test("sample() draws by the softmax of the tempered logits", () => {
  const weights = [0, 2, 1, -1, 2].map((l) => Math.exp(l / 0.7));
  const sum = weights.reduce((a, c) => a + c, 0);
  shares({ temperature: 0.7 }).forEach((share, id) =>
    assert(Math.abs(share - weights[id] / sum) < 0.03, `token ${id}: ${share}`)
  );
});

Deno.test("sample() keeps to the top-k tokens", () => {
  const found = shares({ temperature: 1, topK: 2 });
  assertEquals(found.map((share) => share > 0), [false, true, false, false, true]);
});

Deno.test("sample() keeps to the smallest set that reaches top-p", () => {
  // Probabilities are about .05 .36 .13 .02 .36: two tokens reach 0.7, three are needed for 0.8.
  assertEquals(shares({ temperature: 1, topP: 0.7 }).map((s) => s > 0), [
    false,
    true,
    false,
    false,
    true,
  ]);
  assertEquals(shares({ temperature: 1, topP: 0.8 }).map((s) => s > 0), [
    false,
    true,
    true,
    false,
    true,
  ]);
});

Deno.test("sample() with a repetition penalty turns away from tokens seen", () => {
  assertEquals(sample(logits(), seen(1, 1), { repetitionPenalty: 1.5 }, never), 4);
  assertEquals(sample(Float32Array.from([-1, -1.2]), seen(0), { repetitionPenalty: 2 }, never), 1);
});

Deno.test("validateSampling() names the option and its value", () => {
  for (
    const [options, message] of [
      [{ temperature: -1 }, "temperature must be >= 0: current value is -1"],
      [{ temperature: NaN }, "temperature must be >= 0: current value is NaN"],
      [{ topK: 1.5 }, "top-k must be a whole number >= 0: current value is 1.5"],
      [{ topP: 0 }, "top-p must be in (0, 1]: current value is 0"],
      [{ repetitionPenalty: 0 }, "repetition-penalty must be > 0: current value is 0"],
    ] as const
  ) assertThrows(() => validateSampling(options), Error, message);
});

Deno.test("StopStrings holds back what may begin a stop string and nothing else", () => {
  const stops = new StopStrings(["</s>", "END"]);
  assertEquals(stops.push("a </"), "a ");
  assertEquals(stops.push("b"), "</b");
  assertEquals(stops.push(" EN"), " ");
  assertEquals(stops.push("D more"), "");
  assert(stops.found);
  assertEquals(stops.push("after"), "");
});

Deno.test("StopStrings.end() gives back an unfinished beginning", () => {
  const stops = new StopStrings(["stop"]);
  assertEquals(stops.push("do not sto"), "do not ");
  assertEquals(stops.end(), "sto");
});

Deno.test("sample() takes penalties from generated tokens, by their number and once, and adds biases", () => {
  const options = { frequencyPenalty: 0.75, presencePenalty: 0.5 };
  const found = logits();
  sample(found, { prompt: [1], generated: [4, 4, 2] }, {
    ...options,
    logitBias: new Map([[0, 3], [99, 5]]),
  }, never);
  assertEquals([...found], [3, 2, -0.25, -1, 0]);
});

Deno.test("sample() refuses logits that are not numbers", () => {
  const draw = () => sample(Float32Array.from([1, NaN]), seen(), { temperature: 1 }, () => 0.5);
  assertThrows(draw, Error, "not all numbers");
});

Deno.test("mostLikely() gives the beginning of the sorted tokens", () => {
  const random = Random.fromSeed(5);
  const logits = Float64Array.from({ length: 3000 }, () => -20 * random.next() / 2 ** 32);
  const probabilities = logits.map((logit) => Math.exp(logit));
  const sorted = Array.from(probabilities, (_, id) => id)
    .sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  for (const count of [1, 40, 2999, 5000]) {
    const found = mostLikely(probabilities, (ids) => ids.length >= count);
    assert(found.length >= Math.min(count, 3000));
    assertEquals(found, sorted.slice(0, found.length));
  }
});

Deno.test("scoresOf() gives log-probabilities that sum to one, the likeliest first", () => {
  const score = scoresOf(logits(), 5)(3);
  assertEquals(score.top.map(({ id }) => id), [1, 4, 2, 0, 3]);
  const sum = score.top.reduce((all, { logprob }) => all + Math.exp(logprob), 0);
  assert(Math.abs(sum - 1) < 1e-12);
  assertEquals(score.logprob, score.top[4].logprob);
});
