/** Sizes of a batch as symbols: their algebra, and what is decided by their values. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  areEqual,
  asDimension,
  derived,
  isAtMost,
  minus,
  over,
  plus,
  productOf,
  settled,
  times,
} from "../../src/graph/extent_arithmetic.ts";
import { BadInputError } from "../../src/errors.ts";
import { type Extent, Size, Sizes } from "../../src/graph/size.ts";
import { Random } from "../../src/random.ts";

const BATCH = new Map([["batch", 8], ["length", 40], ["rows", 200]]);
const OTHER = new Map([["batch", 5], ["length", 64], ["rows", 101]]);

function symbols() {
  const sizes = new Sizes(BATCH);
  const [batch, length, rows] = ["batch", "length", "rows"].map((name) => sizes.symbol(name));
  return { sizes, batch, length, rows };
}

const questions = (sizes: Sizes) =>
  sizes.decisions.map(({ text }) => text).filter((text) => !text.endsWith("from 2 on"));

Deno.test("plus() and times() give one object for polynomials that are equal", () => {
  const { batch: b, length: l } = symbols();
  assert(times(b, l) === times(l, b));
  assert(plus(times(3, b), times(2, l)) === minus(plus(times(2, plus(l, b)), b), 0));
  assert(times(plus(b, l), minus(b, l)) === minus(times(b, b), times(l, l)));
  assert(minus(plus(b, 1), b) === 1);
  assert(times(b, 0) === 0);
  assertEquals(`${plus(times(2, times(l, b)), 7)}`, "2*batch*length + 7");
});

Deno.test("plus(), times() and minus() give at every batch what they give of numbers", () => {
  const random = Random.fromSeed(1);
  const { sizes, batch, length, rows } = symbols();
  const pick = (count: number) => random.next() % count;
  const made: { readonly extent: Extent; readonly values: readonly number[] }[] = [
    { extent: batch, values: [8, 5] },
    { extent: length, values: [40, 64] },
    { extent: rows, values: [200, 101] },
    { extent: 3, values: [3, 3] },
  ];
  const other = sizes.at(OTHER)!;
  for (let i = 0; i < 200; i++) {
    const [x, y] = [made[pick(made.length)], made[pick(made.length)]];
    const [of, ofNumbers] = ([
      [plus, (a: number, b: number) => a + b],
      [minus, (a: number, b: number) => a - b],
      [times, (a: number, b: number) => a * b],
    ] as const)[pick(3)];
    const values = x.values.map((value, at) => ofNumbers(value, y.values[at]));
    if (!values.every((value) => Math.abs(value) < 2 ** 40)) continue;
    const extent = of(x.extent, y.extent);
    assertEquals(extent instanceof Size ? extent.value : extent, values[0]);
    assertEquals(other.of(extent), values[1]);
    made.push({ extent, values });
  }
  assert(made.length > 50);
  assertEquals(questions(sizes), []);
});

Deno.test("over() divides polynomials, and decides where it cannot", () => {
  const { sizes, batch, length, rows } = symbols();
  assert(over(times(6, times(batch, length)), times(2, length)) === times(3, batch));
  assert(over(plus(times(4, rows), 8), 4) === plus(rows, 2));
  assert(over(rows, rows) === 1);
  assertEquals(over(12, 5), undefined);
  assertEquals(over(rows, 0), undefined);
  assertEquals(questions(sizes), []);
  assertEquals(`${over(rows, batch)}`, "over(rows, batch)"); // 200 / 8
  assertEquals(over(rows, 7), undefined);
  assertEquals(questions(sizes), ["(batch) divides rows", "(7) divides rows"]);
  assertEquals(sizes.at(OTHER), undefined); // 101 / 5
  assertEquals(sizes.at(new Map([...BATCH, ["rows", 160]]))!.of(over(rows, batch)!), 20);
});

Deno.test("derived() is one size for one function of equal sizes, and follows them", () => {
  const { sizes, length } = symbols();
  const half = (x: Extent) => derived("half", [x], (value) => Math.floor(value / 2));
  assert(half(plus(length, 1)) === half(plus(1, length)));
  assert(half(length) !== half(plus(length, 1)));
  assertEquals(half(7), 3);
  assertEquals(sizes.at(new Map([...BATCH, ["length", 9]]))!.of(half(plus(length, 2))), 5);
});

Deno.test("derived() knows what it lies between, also where it is subtracted", () => {
  const { sizes, length, rows } = symbols();
  const third = (x: Extent, part: number, most: Extent): Extent =>
    derived(`third ${part}`, [x], (value) => Math.floor(value * part / 3), [2, most]);
  const second = third(length, 2, minus(length, 2));
  const first = third(length, 1, minus(second, 2));
  for (const [from, to] of [[0, first], [first, second], [second, length]]) {
    assertEquals(asDimension(times(minus(to, from), rows)), times(minus(to, from), rows));
    assert(!isAtMost(to, plus(from, 1)));
  }
  assertEquals(questions(sizes), []);
  assert(isAtMost(first, 13));
  assertEquals(questions(sizes), ["third 1(length) <= 13"]);
});

Deno.test("once() computes once for each batch, and records what that asks", () => {
  const { sizes, length } = symbols();
  let computed = 0;
  const read = () =>
    sizes.once(sizes, () => {
      computed++;
      return 2 * settled(length);
    });
  const other = sizes.at(OTHER)!;
  for (const _ of [1, 2]) assertEquals([sizes.under(read), sizes.under(read, other)], [80, 128]);
  assertEquals([computed, questions(sizes)], [2, []]);
  assertEquals([read(), read(), computed, questions(sizes)], [80, 80, 3, ["length"]]);
});

Deno.test("isAtMost() and areEqual() decide only what polynomials do not tell", () => {
  const { sizes, batch, length, rows } = symbols();
  assert(isAtMost(2, batch));
  assert(!isAtMost(plus(length, 1), length));
  assert(!areEqual(plus(length, 1), length));
  assert(areEqual(times(batch, length), times(length, batch)));
  assert(!areEqual(batch, 1));
  const before = questions(sizes).length;
  assert(isAtMost(rows, 200));
  assert(!areEqual(rows, length));
  assertEquals(questions(sizes).slice(before), ["rows <= 200", "rows = length"]);
  assertEquals(sizes.at(new Map([...BATCH, ["rows", 201]])), undefined);
  assert(sizes.at(new Map([...BATCH, ["rows", 199]])) !== undefined);
});

Deno.test("settled() lets one value alone be served", () => {
  const { sizes, length, rows } = symbols();
  assertEquals(settled(plus(length, 2)), 42);
  assert(sizes.at(new Map([...BATCH, ["rows", 7]])) !== undefined);
  assertEquals(sizes.at(new Map([...BATCH, ["length", 41]])), undefined);
  assertEquals(sizes.at(BATCH)!.of(rows), 200);
});

Deno.test("symbol() of 0 or 1 is that number, and serves no other", () => {
  const sizes = new Sizes(new Map([["batch", 1]]));
  assertEquals(sizes.symbol("batch"), 1);
  assertEquals(sizes.at(new Map([["batch", 2]])), undefined);
  assert(sizes.at(new Map([["batch", 1]])) !== undefined);
  const more = symbols().sizes;
  assertEquals(more.at(new Map([...BATCH, ["batch", 1]])), undefined);
  assertThrows(() => more.symbol("width"), RangeError, 'No size is named "width"');
});

Deno.test("asDimension() is a number where it is 0 or 1", () => {
  const { sizes, length } = symbols();
  assertEquals(asDimension(minus(length, 39)), 1);
  assertEquals(asDimension(length), length);
  assertEquals(sizes.at(new Map([...BATCH, ["length", 41]])), undefined);
  const { sizes: others, rows } = symbols();
  assertEquals(asDimension(minus(rows, 10)), minus(rows, 10));
  assert(others.at(OTHER) !== undefined);
  assertEquals(others.at(new Map([...BATCH, ["rows", 11]])), undefined);
});

Deno.test("Size is not a number, and belongs to one graph", () => {
  const { batch } = symbols();
  assertThrows(() => Number(batch), TypeError, "batch is not a number");
  assertThrows(() => (batch as number) < 9, TypeError);
  assertThrows(() => plus(batch, symbols().batch), TypeError, "another graph");
  assertEquals(JSON.stringify([batch, productOf([batch, 4])]), '["batch","4*batch"]');
});

Deno.test("sizes that multiply from step to step, or nest in functions, are refused before they fill memory", () => {
  const { batch, length } = symbols();
  const grow = (step: (extent: Extent) => Extent) => {
    let extent = plus(batch, length);
    for (let i = 0; i < 400; i++) extent = step(extent);
  };
  for (
    const step of [
      (extent: Extent) => times(extent, extent),
      (extent: Extent) => times(plus(extent, 1), length),
      (extent: Extent) => derived("larger", [extent, extent], Math.max),
      (extent: Extent) => plus(extent, derived("half", [extent], (value) => value >> 1)),
    ]
  ) assertThrows(() => grow(step), BadInputError, "without end");
});
