import { assertEquals } from "@std/assert";
import type { EarlierResult, Executable, ListedRun } from "../../src/runtime/runner.ts";
import { holdBack } from "../../src/train/hold_back.ts";

const LAYERS = 5;
const executable = {} as Executable;
const at = (list: number, run: number): EarlierResult => ({ list, run, output: "y" });
const runOf = (feeds: Record<string, EarlierResult>): ListedRun => ({
  executable,
  feeds,
  into: {},
});

/** Two spans: attention and MLP of each layer, forward and backward, with a sum from the second to the first. */
function spans(): { lists: ListedRun[][]; leaving: EarlierResult[][] } {
  const forward = (feeds: (layer: number) => Record<string, EarlierResult>) =>
    Array.from({ length: LAYERS }, (_, layer) => [runOf(feeds(layer)), runOf({})]).flat();
  const layers = Array.from({ length: LAYERS }, (_, layer) => layer);
  const turn = 2 * LAYERS;
  return {
    lists: [
      [...forward(() => ({})), ...forward((layer) => ({ ct: at(1, turn + 2 * layer) }))],
      [...forward((layer) => ({ keys: at(0, 2 * layer) })), ...forward(() => ({}))],
    ],
    leaving: [
      layers.map((layer) => at(0, 2 * layer)),
      layers.map((layer) => at(1, turn + 2 * layer)),
    ],
  };
}

Deno.test("holdBack() lets a span be two attentions ahead of the one that reads from it", () => {
  const { lists, leaving } = spans();
  holdBack(lists, leaving);
  const waits = lists.map((runs) => runs.map(({ after }) => after?.[0]));
  const turn = 2 * LAYERS;
  const expected = spans().lists.map((runs) => runs.map((): unknown => undefined));
  for (let layer = 2; layer < LAYERS; layer++) {
    expected[0][2 * layer] = { list: 1, run: 2 * (layer - 2) };
    expected[1][turn + 2 * layer] = { list: 0, run: turn + 2 * (layer - 2) };
  }
  assertEquals(waits, expected);
});

Deno.test("holdBack() leaves parts that pass on nothing but sums as they are", () => {
  const { lists } = spans();
  holdBack(lists, [[], []]);
  assertEquals(lists, spans().lists);
});
