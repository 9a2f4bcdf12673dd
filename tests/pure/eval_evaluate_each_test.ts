import { assertEquals } from "@std/assert";
import { evaluateEach } from "../../src/eval/evaluate_each.ts";
import { peersHere } from "../helpers/peers_here.ts";

/** Results of all batches, and the batches that were evaluated here. */
async function evaluated(
  batches: readonly number[],
  together: Parameters<typeof evaluateEach>[2] = {},
) {
  const own: number[] = [];
  const results: (readonly number[])[] = [];
  const evaluate = (batch: number) => {
    own.push(batch);
    // As many numbers as the batch says, none included.
    return Promise.resolve(Array.from({ length: batch % 3 }, (_, i) => batch + i / 10));
  };
  for await (const result of evaluateEach(batches, evaluate, together)) results.push(result);
  return { own, results };
}

Deno.test("evaluateEach() of several processes evaluates each batch once, and gives all of them every result", async () => {
  for (const size of [0, 1, 4, 7]) {
    const batches = Array.from({ length: size }, (_, i) => i + 1);
    const { results } = await evaluated(batches);
    for (const count of [2, 3]) {
      const found = await Promise.all(
        peersHere(count).map((peers) => evaluated(batches, { peers })),
      );
      for (const one of found) assertEquals(one.results, results);
      assertEquals(found.flatMap(({ own }) => own).sort((a, b) => a - b), batches);
    }
  }
});

Deno.test("evaluateEach() has every process evaluate a batch of which all need more than numbers", async () => {
  const batches = [1, 2, 4, 5, 7];
  const { results } = await evaluated(batches);
  const found = await Promise.all(
    peersHere(2).map(async (peers) => {
      let seen = 0;
      return await evaluated(batches, { peers, all: () => seen++ < 2 });
    }),
  );
  for (const one of found) assertEquals(one.results, results);
  assertEquals(found.map(({ own }) => own), [[1, 2, 4, 7], [1, 2, 5]]);
});
