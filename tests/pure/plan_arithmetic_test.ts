import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { DEQUANT_FORMS } from "../../src/ops/dequant_form.ts";
import { INTEGER_FORMS } from "../../src/ops/internal/integer_form.ts";
import {
  type Arithmetic,
  arithmeticKey,
  arithmeticOf,
  changed,
  floatsBeside,
  formatArithmetic,
  formOfProducts,
  IN_FLOATS,
  numericOf,
  type Products,
  productsKey,
  withoutGradients,
} from "../../src/plan/arithmetic.ts";
import { keyOf } from "../../src/plan/options.ts";

const PRODUCTS: readonly Products[] = [
  { in: "floats" },
  ...INTEGER_FORMS.map((form): Products => ({ in: "16-bit integers", form })),
  ...INTEGER_FORMS.flatMap((form) =>
    [false, true].map((rotated): Products => ({ in: "8-bit integers", form, rotated }))
  ),
];

/** Every arithmetic that there is. */
const ALL = PRODUCTS.flatMap((products) =>
  DEQUANT_FORMS.flatMap((dequantForm) =>
    (["reduced", "whole"] as const).flatMap((kept) =>
      ([false, true, "deep"] as const).flatMap((readyWeights) =>
        [false, true].map((flushed): Arithmetic => ({
          products,
          dequantForm,
          kept,
          readyWeights,
          flushed,
        }))
      )
    )
  )
);

Deno.test("arithmeticKey() differs where anything differs, and so does the name", () => {
  assertEquals(new Set(ALL.map(arithmeticKey)).size, ALL.length);
  assertEquals(new Set(ALL.map(formatArithmetic)).size, ALL.length);
  const options = { batch: 1, length: 8, trainable: new Set<string>() };
  const planKeys = ALL.map((arithmetic) => keyOf({ ...options, arithmetic }));
  assertEquals(new Set(planKeys).size, ALL.length);
  assertEquals(
    new Set(PRODUCTS.map((products) => productsKey({ products }))).size,
    PRODUCTS.length,
  );
});

Deno.test("keyOf() of options without an arithmetic is that in floats", () => {
  const options = { batch: 1, length: 8, trainable: new Set<string>() };
  assertEquals(keyOf(options), keyOf({ ...options, arithmetic: IN_FLOATS }));
});

Deno.test("arithmeticOf() reads the words of settings", () => {
  assertEquals(arithmeticOf(), IN_FLOATS);
  assertEquals(arithmeticOf({ sliced: true }).products, { in: "16-bit integers", form: "u8s8" });
  const paired = arithmeticOf({ sliced: true, integerForm: "u8s8_paired" });
  assertEquals(paired.products, { in: "16-bit integers", form: "u8u8" }, "weights are as stored");
  const fast = arithmeticOf({ numeric: "fast", sliced: true, rotated: true, integerForm: "u8u8" });
  assertEquals(fast.products, { in: "8-bit integers", form: "u8u8", rotated: true });
  assertEquals([numericOf(fast), formOfProducts(fast)], ["fast", "u8u8"]);
  assertEquals(numericOf(arithmeticOf({ sliced: true })), "exact");
  assertEquals(formOfProducts(arithmeticOf({ integerForm: "s8s8" })), undefined);
  assertEquals(arithmeticOf({ kept: "whole", readyWeights: "deep", flushed: true }), {
    ...IN_FLOATS,
    kept: "whole",
    readyWeights: "deep",
    flushed: true,
  });
});

Deno.test("an arithmetic cannot be changed, and what comes of one leaves it as it was", () => {
  const arithmetic = arithmeticOf({ numeric: "fast", readyWeights: true });
  const key = arithmeticKey(arithmetic);
  for (const one of [arithmetic, arithmetic.products, IN_FLOATS, changed(arithmetic, {})]) {
    assert(Object.isFrozen(one));
  }
  assertThrows(() => {
    (arithmetic as { flushed: boolean }).flushed = true;
  }, TypeError);
  assertNotEquals(arithmeticKey(changed(arithmetic, { kept: "whole" })), key);
  floatsBeside(arithmetic);
  withoutGradients(arithmetic);
  assertEquals(arithmeticKey(arithmetic), key);
});

Deno.test("floatsBeside() and withoutGradients() compute in floats, over weights as they lie beside 8 bits", () => {
  for (const arithmetic of ALL) {
    const [beside, losses] = [floatsBeside(arithmetic), withoutGradients(arithmetic)];
    assertEquals([beside.products.in, losses.products.in], ["floats", "floats"]);
    const ready = numericOf(arithmetic) === "fast" ? false : arithmetic.readyWeights;
    assertEquals([beside.readyWeights, losses.readyWeights], [ready, false]);
    const { dequantForm, kept, flushed } = arithmetic;
    for (const one of [beside, losses]) {
      assertEquals([one.dequantForm, one.kept, one.flushed], [dequantForm, kept, flushed]);
    }
  }
});

Deno.test("formatArithmetic() says in words how a step computes", () => {
  assertEquals(
    formatArithmetic(IN_FLOATS),
    "products in floats, blocks dequantised by gather_block, wide activations kept in float16",
  );
  assertEquals(
    formatArithmetic(
      arithmeticOf({ numeric: "fast", rotated: true, readyWeights: "deep", flushed: true }),
    ),
    "products in 8-bit integers (u8s8, rotated), blocks dequantised by gather_block, " +
      "wide activations kept in 8 and 16 bits, deep weights made ready, denormals flushed",
  );
});
