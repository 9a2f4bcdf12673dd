import { assertEquals } from "@std/assert";
import { GRAFT, MICROSOFT } from "../../src/graph/types.ts";
import { CONTRIB_RULES } from "../../src/ops/contrib.ts";
import { INTERNAL_RULES } from "../../src/ops/internal.ts";
import { isElementwise, kindOf, traitsOf } from "../../src/ops/registry.ts";
import { STANDARD_RULES } from "../../src/ops/standard.ts";
import { mixed } from "../../src/ops/traits.ts";
import type { OpRule } from "../../src/ops/types.ts";
import { UNTRAINED } from "../../src/ops/untrained.ts";

/** Type-checked alone: what a rule must not leave out. */
const FACTS = {
  opType: "Tested",
  domain: "",
  since: 7,
  attributes: [],
  inputs: "1",
  outputs: "1",
  infer: () => [],
} as const;
const OF_FILES = { kind: "other", rows: "mixed" } as const;
export const INCOMPLETE: readonly OpRule[] = [
  // @ts-expect-error: it has no traits
  { ...FACTS },
  // @ts-expect-error: a training graph may hold it, since nothing lowers it
  { ...FACTS, traits: OF_FILES },
  // @ts-expect-error: it may be kept, since its lowering may leave it as it is
  { ...FACTS, traits: OF_FILES, lower: (): readonly string[] | undefined => undefined },
  // @ts-expect-error: what has a derivative is in training graphs
  { ...FACTS, traits: OF_FILES, lower: () => [], vjp: () => [] },
  // @ts-expect-error: it does not say where its result lies
  { ...FACTS, traits: { ...OF_FILES, again: "cheap", scratch: () => [] } },
  // @ts-expect-error: it does not say which attributes it reads
  { ...FACTS, attributes: undefined, traits: mixed("other") },
  // @ts-expect-error: it does not say how many inputs it has
  { ...FACTS, inputs: undefined, traits: mixed("other") },
  // @ts-expect-error: no number of inputs
  { ...FACTS, inputs: "some", traits: mixed("other") },
  // These are whole.
  { ...FACTS, traits: OF_FILES, lower: () => [] },
  { ...FACTS, traits: mixed("other"), vjp: () => [] },
];

const RULES = [...STANDARD_RULES, ...CONTRIB_RULES, ...INTERNAL_RULES];
const keyOf = ({ domain, opType }: Pick<OpRule, "domain" | "opType">) => `${domain}:${opType}`;

Deno.test("every operator is said once: by one rule, or as one that nothing trains through", () => {
  const keys = [...RULES, ...UNTRAINED].map(keyOf);
  assertEquals(keys.filter((key, i) => keys.indexOf(key) !== i), []);
});

Deno.test("traitsOf() gives a rule's own traits, and of what is lowered those of its model's graph", () => {
  for (const rule of RULES) {
    const traits = traitsOf(rule);
    assertEquals({ ...traits, ...rule.traits }, traits, keyOf(rule));
  }
});

Deno.test("traitsOf() promises nothing of an operator that graft does not know", () => {
  for (const domain of ["", "com.example"]) {
    const { kind, rows, again, memory } = traitsOf({ domain, opType: "Unheard" });
    assertEquals([kind, rows, again, memory], ["other", "mixed", "costly", "own"]);
  }
  // Another domain's operator may be anything, whatever its name.
  assertEquals(isElementwise({ domain: "com.example", opType: "Add" }), false);
  assertEquals(kindOf({ domain: MICROSOFT, opType: "MatMul" }), "other");
});

Deno.test("graft's own operators are kept in training graphs, so that planning knows all of them", () => {
  const lowered = RULES.filter(({ domain, lower }) => domain === GRAFT && lower !== undefined);
  assertEquals(lowered.map(keyOf), []);
});
