/**
 * How efficient training on 2 to 64 boards would be, by a model of a step's time (docs/design/ranks.md):
 * compute, what the wire takes, its latency, and rows that cannot be divided evenly. Prints Markdown tables.
 *
 * usage: deno run -A scripts/figures/ranks_model.ts [WIRE] [--compute SECONDS] [--latency µs]
 *   [--shared PATH]
 *
 * WIRE is what `ranks_wire.ts --json` has written, to which latency and rate are fitted; without it, those of
 * an idle switched Ethernet are assumed. --compute is the seconds in which a board computes its 8 rows: as
 * long as two cores take for SmolLM2 and e2e (docs/benchmarks.md, B1) if absent. --latency is that of a round
 * in the last table, as the namespaces of WIRE have next to none.
 */
import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path";
import { dealRows } from "../../src/data/deal_rows.ts";
import { batchRows } from "../../src/data/order.ts";
import { mean } from "../../src/statistics.ts";
import { markdownTable } from "../markdown_table.ts";
import {
  ADAPTERS,
  efficiencyOf,
  fitWire,
  type MeasuredSum,
  sumSeconds,
  type WireModel,
} from "./ranks/step_time.ts";

const BOARDS = [2, 4, 8, 16, 32, 64];
const WIRES = [{ name: "1 Gbit/s", bitsPerSecond: 1e9 }, {
  name: "10 Gbit/s",
  bitsPerSecond: 1e10,
}];
const VARIANTS = [false, true].flatMap((overlaps) =>
  [1, 4].map((accumulation) => ({ overlaps, accumulation }))
);
/** Rows that a board computes. */
const ROWS = 8;
/** Of a step's time, the backward pass's, at least: it computes cotangents, and activations again. */
const BACKWARD = 0.5;
/** TCP's payload in an Ethernet frame, and what a small message takes through a switch. */
const ASSUMED: WireModel = { efficiency: 1448 / 1514, latency: 1e-4 };

const flags = parseArgs(Deno.args, {
  string: ["compute", "latency", "shared"],
  default: { compute: "0.88", shared: "../shared" },
});
const compute = Number(flags.compute);
if (!(compute > 0)) {
  console.error(`graft: --compute must be > 0: current value is ${flags.compute}`);
  Deno.exit(2);
}
const [measuredPath] = flags._;
const measured: readonly MeasuredSum[] = measuredPath === undefined
  ? []
  : JSON.parse(Deno.readTextFileSync(`${measuredPath}`));
const wire = measured.length === 0 ? ASSUMED : fitWire(measured);
const boardsWire = flags.latency === undefined
  ? wire
  : { ...wire, latency: Number(flags.latency) / 1e6 };
if (!(boardsWire.latency >= 0)) {
  console.error(`graft: --latency must be >= 0: current value is ${flags.latency}`);
  Deno.exit(2);
}
const percent = (share: number) => `${(100 * share).toFixed(1)}%`;

console.log(
  `${measured.length === 0 ? "Assumed" : "Fitted"}: ${
    (1e6 * wire.latency).toFixed(0)
  } µs a round, ` +
    `${percent(wire.efficiency)} of the wire's rate.\n`,
);
if (measured.length > 0) {
  const rows = measured.map(({ ranks, bitsPerSecond, bytes, p50Ms }) => {
    const predicted = 1000 * sumSeconds(wire, ranks, bytes, bitsPerSecond);
    const cells = [bitsPerSecond / 1e6, ranks, bytes / 1e6, p50Ms, predicted, predicted / p50Ms];
    return cells.map((cell) => `${Number(cell.toPrecision(3))}`);
  });
  const head = ["Mbit/s", "boards", "MB", "p50 ms", "model ms", "model / measured"];
  console.log(`${markdownTable(head, rows)}\n`);
}

const lengths = Deno.readTextFileSync(join(flags.shared, "data/e2e/bench512.jsonl")).trim()
  .split("\n").map((line) => line.length);
const imbalances = new Map(BOARDS.map((boards) => [boards, imbalanceOf(boards)]));
console.log(
  `Each board computes ${ROWS} rows in ${compute} s; the slowest has ` +
    `${
      BOARDS.map((boards) => `${percent(imbalances.get(boards)! - 1)} more (${boards})`).join(", ")
    } ` +
    `than the mean; ${(1e6 * boardsWire.latency).toFixed(0)} µs a round.\n`,
);
const rows = WIRES.flatMap(({ name, bitsPerSecond }) =>
  ADAPTERS.flatMap((adapter) =>
    VARIANTS.map(({ overlaps, accumulation }) => {
      const training = {
        ...{ compute, backward: BACKWARD, bytes: 4 * adapter.floats, accumulation, overlaps },
        imbalance: (boards: number) => imbalances.get(boards) ?? 1,
      };
      return [
        ...[name, `r${adapter.rank}`, overlaps ? "yes" : "no", `${accumulation}`],
        ...BOARDS.map((boards) =>
          percent(efficiencyOf(training, boardsWire, boards, bitsPerSecond))
        ),
      ];
    })
  )
);
const head = ["wire", "adapter", "overlap", "batches a step", ...BOARDS.map((n) => `${n} boards`)];
console.log(markdownTable(head, rows));

/** Tokens of the board that has most, relative to the mean, over the batches of an epoch. */
function imbalanceOf(boards: number): number {
  // Characters stand for tokens.
  const encoded = { count: lengths.length, tokenCount: (row: number) => lengths[row] };
  const options = { batchSize: ROWS * boards, order: "shuffled" as const, seed: 0 };
  const batches = batchRows(encoded as Parameters<typeof batchRows>[0], 0, options)
    .filter((batch) => batch.length === ROWS * boards);
  return mean(batches.map((batch) => {
    const sums = Array.from(
      { length: boards },
      (_, index) =>
        dealRows(batch, encoded, { index, of: boards })
          .reduce((sum, row) => sum + lengths[row], 0),
    );
    return Math.max(...sums) / mean(sums);
  }));
}
