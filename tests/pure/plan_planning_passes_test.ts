import { assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { parsePassSwitches, PLANNING_PASSES } from "../../src/plan/planning_passes.ts";

const parse = (text: string) => [...parsePassSwitches(text, "GRAFT_PASSES")];

Deno.test("PLANNING_PASSES have a name each", () => {
  const names = PLANNING_PASSES.map(({ name }) => name);
  assertEquals(new Set(names).size, names.length);
});

Deno.test("parsePassSwitches() reads the names of optional passes", () => {
  assertEquals(parse(""), []);
  assertEquals(parse("-join-gates, -pack-tokens,"), ["join-gates", "pack-tokens"]);
  const optional = PLANNING_PASSES.filter(({ isOptional }) => isOptional).map(({ name }) => name);
  assertEquals(parse(optional.map((name) => `-${name}`).join()), optional);
});

Deno.test("parsePassSwitches() refuses what names no optional pass, and lists those that there are", () => {
  for (
    const [text, why] of [
      ["-join-gate", "there is no such pass to leave out"],
      ["join-gates", "there is no such pass to leave out"],
      ["-join-gates,-__proto__", "there is no such pass to leave out"],
      ["-lower", "no plan can be made without that pass"],
    ]
  ) {
    const error = assertThrows(
      () => parse(text),
      BadInputError,
      `Cannot read GRAFT_PASSES: ${why}: current value is "${text.split(",").at(-1)}"`,
    );
    assertEquals(error.message.includes("-join-gates, -chunk-head"), true, error.message);
    assertEquals(error.message.includes("-lower,"), false, error.message);
  }
});
