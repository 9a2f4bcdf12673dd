/** `docs/fleet-learning.md`: what a simulated fleet learned, from the results of a run. */
import { mean } from "../../../src/statistics.ts";
import { markdownTable } from "../../markdown_table.ts";

/** Numbers that decide an experiment. */
export interface Experiment {
  readonly boxes: number;
  readonly rounds: number;
  /** Boxes asked in a round. */
  readonly asked: number;
  /** Shares of the asked boxes that do not answer, and that answer too late. */
  readonly dropOuts: number;
  readonly stragglers: number;
  /** Boxes whose answers are poisoned. */
  readonly poisoned: number;
  /** Parameter of the Dirichlet distribution. */
  readonly concentration: number;
  readonly rank: number;
  /** Updates and rows of a box's training in a round. */
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
  /** Boxes of which `local` is the mean. */
  readonly alone: number;
  readonly seed: number;
}

/** What came of one way to learn. */
export interface Way {
  readonly name: string;
  /** Accuracy on some of the test rows by round. */
  readonly points: readonly (readonly [round: number, accuracy: number])[];
  /** Accuracy at the end, on so many test rows. */
  readonly accuracy: number;
  readonly rows: number;
  /** The server's records of the rounds; none without a server. */
  readonly records: readonly Readonly<Record<string, unknown>>[];
}

/** How boxes and rows were dealt. */
export interface Dealt {
  /** Rows of all boxes, of the smallest and of the largest. */
  readonly rows: number;
  readonly least: number;
  readonly most: number;
  /** Mean over boxes. */
  readonly classes: number;
  readonly allClasses: number;
}

export const PLOT = "images/fleet-learning.svg";

/** The page. */
export function learningPage(e: Experiment, dealt: Dealt, ways: readonly Way[]): string {
  const answered = ways.find(({ records }) => records.length > 0)!.records;
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  const rows = ways.map(({ name, accuracy, records }) => [
    name,
    percent(accuracy),
    figure(records, "kept", percent),
    figure(records, "inexactness", percent),
    records.length === 0 ? "" : String(sum(records, (r) => list(r.rejected))),
    records.length === 0 ? "" : String(sum(records, (r) => list(r.clipped))),
  ]);
  const head = ["way", "accuracy", "kept", "inexact by", "left out", "clipped"];
  return `# What a fleet learns

<!-- Written by scripts/figures/fleet_learning.ts. -->

${e.boxes} boxes share the ${dealt.rows} rows of banking77, a Dirichlet distribution of parameter
${e.concentration} dealing each of the ${dealt.allClasses} classes: a box has ${dealt.least} to ${dealt.most} rows of
${
    dealt.classes.toFixed(1)
  } classes in the mean. They adapt the embedded int8 MiniLM (query and value, rank
${e.rank}) and a new classifier; ${e.rounds} rounds ask ${e.asked} boxes each for ${e.steps} updates of
${e.batchSize} rows (AdamW, learning rate ${e.learningRate}). ${
    percent(e.dropOuts)
  } of the boxes that are asked do not
answer, ${
    percent(e.stragglers)
  } answer after the round has ended. ${e.poisoned} of the boxes that answer are poisoned: every
other of them takes ten times its way in the other direction and claims a million rows, the rest send numbers
that are not finite. In all, ${
    sum(answered, (r) => Number(r.replies))
  } usable answers came. Ways differ in nothing else: the same boxes, rows, drop-outs and seeds (${e.seed}).

![Accuracy by round](${PLOT})

${markdownTable(head, rows)}

- **all data**: one adapter trained on all rows in one place, as many rows in each round as the boxes'
  answers are of.
- **stack**, **average** and **private** are those of [fleet.md](fleet.md), by the code that \`flwr run\` runs.
  "Kept" is the share of the squared norm that the cut to rank ${e.rank} keeps, and "inexact by" the relative
  distance of the product of means from the mean of products, both as means over rounds.
- **stack without limits** has neither \`norm-limit\` nor \`examples-limit\`.
- **alone**: ${e.alone} boxes, each trained on its own rows for ${
    e.steps * e.rounds
  } updates; the mean of their
  accuracies. A box alone never sees most classes, of which the test rows are, too.

The accuracy of the table is that on ${
    ways[0].rows
  } test rows after the last round, that of the plot and of
boxes alone on some of them. It is one seed.
`;
}

const list = (value: unknown) => (value as readonly unknown[] | undefined)?.length ?? 0;

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((all, value) => all + of(value), 0);
}

/** The mean of a figure over the rounds that have it. */
function figure(
  records: Way["records"],
  name: string,
  format: (value: number) => string,
): string {
  const found = records.map((record) => record[name]).filter((value) => typeof value === "number");
  return found.length === 0 ? "" : format(mean(found));
}
