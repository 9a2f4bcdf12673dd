import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { globExpression } from "../../src/hub/names.ts";
import { BadInputError, UsageError } from "../../src/errors.ts";
import { LinearPattern } from "../../src/lora/linear_pattern.ts";
import { patternTest, PatternValues } from "../../src/lora/pattern.ts";

/** Expressions of all that the syntax has. */
const SOURCES: fc.Arbitrary<string> = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(
      ...[
        "a",
        "b",
        ".",
        "\\.",
        "[ab]",
        "[^a-c]",
        "[\\w.-]",
        "\\w",
        "\\W",
        "\\d",
        "\\x61",
        "\\u0062",
      ],
      ...["", "^", "$", "\\b", "\\B", "{", "}", "]", "[]", "[^]"],
    ),
    fc.tuple(tie("node"), tie("node")).map(([a, b]) => a + b),
    fc.tuple(tie("node"), tie("node")).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie("node"), fc.constantFrom("*", "+", "?", "*?", "{2}", "{0}", "{1,}", "{0,2}?"))
      .map(([a, times]) => `(${a})${times}`),
    fc.tuple(fc.constantFrom("=", "!"), tie("node"), tie("node"))
      .map(([sign, a, b]) => `(?${sign}${a})${b}`),
  ),
})).node;

const TEXTS = fc.string({
  unit: fc.constantFrom("a", "b", "c", ".", "_", "1", "]", "{", "\n", "ü"),
  maxLength: 6,
});

Deno.test("LinearPattern matches what JavaScript's expressions match", () => {
  fc.assert(
    fc.property(SOURCES, fc.array(TEXTS, { maxLength: 8 }), (source, texts) => {
      let native: RegExp;
      try {
        native = new RegExp(`^(?:${source})$`);
        new RegExp(source);
      } catch {
        return; // it is no expression
      }
      const pattern = new LinearPattern(source);
      for (const text of texts) assertEquals(pattern.test(text), native.test(text), text);
    }),
    { numRuns: 1000 },
  );
});

/** What takes JavaScript's matcher from twenty seconds to years. */
const EXPLODING = [
  ".*.*.*.*.*!",
  "(a+)+b",
  "(a|a)*b",
  "(?:a*)*!",
  "(a?){30}a{30}!",
  "(?=(a*)*!)a*",
];

Deno.test("patterns from files and flags are matched at once, whatever they are", () => {
  const name = "a".repeat(600);
  const began = performance.now();
  for (const source of EXPLODING) {
    assertEquals(new PatternValues({ [source]: 3 }).of(name), undefined);
    assertEquals(patternTest(source)(name), false);
  }
  assertEquals(patternTest("*a*a*a*a*a*b")(name), false);
  assertEquals(globExpression("*a*a*a*a*a*b").test(name), false);
  assert(performance.now() - began < 1000);
});

Deno.test("PatternValues gives the value of the first key that matches a path's end", () => {
  const values = new PatternValues({
    "layers\\.[01]\\..*": 1,
    "q_proj": 2,
    "1.q_proj": 3,
    "(?!.*mlp).*proj": 4,
    "constructor": 5,
  });
  assertEquals(values.of("model.layers.0.q_proj"), 1);
  assertEquals(values.of("model.layers.11.q_proj"), 2);
  assertEquals(values.of("q_proj"), 2);
  assertEquals(values.of("model.attn.v_proj"), 4);
  assertEquals(values.of("model.mlp_proj"), undefined);
  assertEquals(new PatternValues({ "proj": 3 }).of("model.q_proj"), undefined);
});

Deno.test("PatternValues refuses expressions that cannot be matched in bounded time", () => {
  const wrong = ["[", "(a)\\1", "(?<=a)b", "(?<n>a)\\k<n>", "a{99999}", `(${"a|".repeat(3000)})`];
  for (const key of wrong) {
    assertThrows(() => new PatternValues({ [key]: 3 }), BadInputError, "current key is");
    assertThrows(() => patternTest(key), UsageError, "current value is");
  }
  const many = Array.from({ length: 100 }, (_, i) => [`(a|${i}){50}`, 1]);
  assertThrows(() => new PatternValues(Object.fromEntries(many)), BadInputError, "steps together");
});
