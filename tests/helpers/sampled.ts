/**
 * Long tables of cases. An everyday run takes a part of each, so that it is short enough to be run;
 * with GRAFT_TEST_ALL=1, as in `.ci/run`, all of them.
 */
const ALL = Deno.env.get("GRAFT_TEST_ALL") === "1";

/** Of so many cases an everyday run takes one. */
const EVERY = 3;

/**
 * The cases of a table that are run: all, or every third.
 *
 * @param from of tables in a loop, which time this is: each then takes other cases
 */
export function sampled<T>(cases: readonly T[], from = 0): readonly T[] {
  const every = Math.min(EVERY, cases.length);
  return ALL ? cases : cases.filter((_, i) => i % every === from % every);
}

/** Cases with all of some variants, or with the first alone where {@linkcode sampled} leaves them out. */
export function withSampledVariants<T, V>(
  cases: readonly T[],
  variants: readonly V[],
): (readonly [T, readonly V[]])[] {
  const some = new Set(sampled(cases));
  return cases.map((value) => [value, some.has(value) ? variants : variants.slice(0, 1)]);
}

/** {@linkcode sampled} of the cases with the same key, for each key. */
export function sampledOfEach<T>(cases: readonly T[], key: (value: T) => string): readonly T[] {
  return [...Map.groupBy(cases, key).values()].flatMap((some) => sampled(some));
}
