import { assertEquals, assertStringIncludes } from "@std/assert";
import { findings, likeness, type Utterance } from "../../scripts/check_quickstart_data.ts";

/** Enough different utterances that only what a test adds is found. */
function parts(): { train: Utterance[]; test: Utterance[] } {
  const made = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, i) => {
      const word = (n: number) => `${prefix}${(i * 7919 + n * 104729).toString(36)}`;
      return { text: [1, 2, 3, 4].map(word).join(" "), intent: `intent ${i % 12}` };
    });
  return { train: made("t", 360), test: made("h", 120) };
}

Deno.test("findings() finds nothing in data that says everything in its own words", () => {
  const { train, test } = parts();
  assertEquals(findings(train, test), []);
});

const PAIRS = [
  ["set a timer for ten minutes", "Set the timer for ten minutes, please!"],
  ["turn the workshop lights on", "turn on the lights in the workshop"],
  ["remind me to water the plants tomorrow", "reminder to water plants tomorrow"],
];

for (const [held, trained] of PAIRS) {
  Deno.test(`findings() reports "${held}" beside "${trained}"`, () => {
    const { train, test } = parts();
    train[0] = { text: trained, intent: "intent 0" };
    test[0] = { text: held, intent: "intent 0" };
    const found = findings(train, test);
    assertEquals(found.length, 1);
    assertStringIncludes(found[0], `near-duplicate: "${held}" and "${trained}"`);
  });
}

Deno.test("likeness() of the same wish in other words is low", () => {
  const { words, letters } = likeness("it is pitch black in here", "turn on the lights");
  assertEquals([words < 0.1, letters < 0.1], [true, true]);
});

Deno.test("findings() reports repeated utterances, intents only held out, and too little data", () => {
  const { train, test } = parts();
  train[1] = { ...train[0], intent: "intent 5" };
  test[0] = { ...test[0], intent: "new" };
  const found = findings(train.slice(0, 300), test);
  assertEquals(found.length, 3);
  assertEquals(found[0], "only 300 to train, 360 needed");
  assertStringIncludes(found[1], "twice:");
  assertEquals(found[2], `intent "new" is only held out`);
});
