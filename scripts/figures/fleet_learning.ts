/**
 * What a fleet learns: boxes with rows of few classes each, of which some drop out, some are late and some
 * are poisoned, learn banking77 on the embedded MiniLM. Compares the aggregations of the server part, which
 * runs as `graft_fleet.offline`, with all data in one place and with boxes alone. Writes docs/fleet-learning.md
 * and its picture.
 *
 * usage: GRAFT_PYTHON=… deno run -A scripts/figures/fleet_learning.ts [--rounds 20] [--boxes 200]
 *   [--asked 20] [--steps 10] [--batch-size 16] [--alone 10] [--seed 0] [--threads N] [--shared ../shared]
 *   [--keep FOLDER] [--docs docs] [--only NAMES] [--quick]
 *   --keep keeps the results of each way; those of an earlier call with the same numbers are used again
 *   --quick measures on few test rows, to try the script out
 *   --only measures the ways named, divided by commas, and writes no page
 */
import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path";
import { randomFor } from "../../src/data/random.ts";
import { mean } from "../../src/statistics.ts";
import { exists } from "../../src/system/durable_files.ts";
import { type FleetReply, FleetRounds } from "../../tests/helpers/fleet_rounds.ts";
import { type Experiment, learningPage, PLOT, type Way } from "./fleet/learning_page.ts";
import { learningPlot } from "./fleet/learning_plot.ts";
import { dirichletShares, sample, uniform } from "./fleet/shares.ts";
import {
  type LocalSteps,
  type Measured,
  type Parameters,
  SimulatedBoxes,
} from "./fleet/simulated_boxes.ts";

const flags = parseArgs(Deno.args, {
  string: ["shared", "keep", "docs", "only"],
  boolean: ["quick"],
  default: {
    ...{ rounds: 20, boxes: 200, asked: 20, steps: 10, "batch-size": 16, alone: 10, seed: 0 },
    ...{ shared: "../shared", docs: "docs" },
  },
});
const experiment: Experiment = {
  ...{ boxes: flags.boxes, rounds: flags.rounds, asked: flags.asked, steps: flags.steps },
  ...{ batchSize: flags["batch-size"], alone: flags.alone, seed: flags.seed },
  ...{ dropOuts: 0.2, stragglers: 0.1, concentration: 0.1, rank: 8, learningRate: 2e-3 },
  poisoned: Math.max(2, Math.round(flags.boxes / 100)),
};
const { boxes, rounds, asked, steps, batchSize, rank, learningRate, seed } = experiment;
const ALPHA = 16;
/** Batches of 16 test rows for each point of the plot, and for the table; -1: all. */
const [SHOWN, TESTED] = flags.quick ? [4, 4] : [24, -1];

const folder = flags.keep ?? Deno.makeTempDirSync({ prefix: "graft-figures-" });
const data = join(folder, "data");
Deno.mkdirSync(data, { recursive: true });
for (const [from, to] of [["train", "train"], ["test", "valid"]]) {
  Deno.copyFileSync(`${flags.shared}/data/banking77/${from}.csv`, join(data, `${to}.csv`));
}

const open = (freezeA: boolean) =>
  SimulatedBoxes.open({
    ...{ model: "default", data, targetModules: ["query", "value"], rank, loraAlpha: ALPHA },
    ...{ batchSize: 16, seed, freezeA, numeric: "fast", adapterPath: join(folder, "adapter") },
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
  });
using whole = await open(false);
using frozen = await open(true);
const shares = dirichletShares(whole.classes, boxes, experiment.concentration, seed);

/** Who is asked in a round, and who of them answers in time. */
const plan = Array.from({ length: rounds }, (_, i) => {
  const random = randomFor(seed, "round", i);
  const drawn = sample(boxes, asked, random);
  const answer = drawn.filter(() => uniform(random) >= experiment.dropOuts);
  return { drawn, answer: answer.filter(() => uniform(random) >= experiment.stragglers) };
});
/** Of the boxes that answer at all, so that the rounds are too few to miss them. */
const answering = [...new Set(plan.flatMap(({ answer }) => answer))];
const poisoned = sample(answering.length, experiment.poisoned, randomFor(seed, "poisoned"))
  .map((i) => answering[i]);

const localSteps = (...salts: number[]): LocalSteps => ({
  ...{ steps, batchSize, learningRate },
  seed: randomFor(seed, "box", ...salts).next(),
});

/** Rounds of a fleet whose server has these settings. */
async function fleet(name: string, settings: Record<string, unknown>): Promise<Way> {
  const simulated = settings.aggregation === "private" ? frozen : whole;
  const layers = simulated.layers(whole);
  const run = join(folder, name);
  if (exists(run)) Deno.removeSync(run, { recursive: true });
  Deno.mkdirSync(run);
  await using server = new FleetRounds(run, {
    ...{ rank, "lora-alpha": ALPHA, seed, ...settings },
  });
  const [points, records]: [[number, number][], Way["records"][0][]] = [[], []];
  let parameters = simulated.start;
  const show = async (round: number) => {
    const { accuracy } = await simulated.accuracy(parameters, SHOWN);
    points.push([round, accuracy]);
    tell(name, round, accuracy);
  };
  await show(0);
  for (const [i, { drawn, answer }] of plan.entries()) {
    const replies: FleetReply[] = [];
    for (const box of answer) {
      const trained = await simulated.train(parameters, shares[box], localSteps(i, box));
      const honest = {
        box,
        layers,
        vector: simulated.vectorOf(trained.parameters),
        ...{ examples: shares[box].length, loss: trained.loss },
        ...(simulated.parts === "B" ? { parts: "B" as const } : {}),
      };
      replies.push(answerOf(honest, simulated.vectorOf(parameters)));
    }
    const { record, vector } = await server.round(replies, drawn);
    records.push(record);
    if (vector !== undefined) parameters = simulated.parametersOf(vector);
    await show(i + 1);
  }
  return { name, points, records, ...await simulated.accuracy(parameters, TESTED) };
}

/** What a box sends: what it trained, or poison. */
function answerOf(honest: FleetReply, start: Float32Array): FleetReply {
  const which = poisoned.indexOf(honest.box);
  if (which < 0) return honest;
  if (which % 2 === 1) return { ...honest, vector: honest.vector.map(() => NaN) };
  const vector = honest.vector.map((value, i) => start[i] - 10 * (value - start[i]));
  return { ...honest, vector, examples: 1e6 };
}

/** One adapter on all rows: in each round as many as the boxes that answer train on. */
async function together(name: string): Promise<Way> {
  const all = Uint32Array.from(whole.classes.keys());
  let parameters: Parameters = whole.start;
  const points: [number, number][] = [];
  for (const [i, { answer }] of plan.entries()) {
    const local = { ...localSteps(i), steps: steps * answer.length };
    ({ parameters } = await whole.train(parameters, all, local, i > 0));
    const { accuracy } = await whole.accuracy(parameters, SHOWN);
    points.push([i + 1, accuracy]);
    tell(name, i + 1, accuracy);
  }
  return { name, points, records: [], ...await whole.accuracy(parameters, TESTED) };
}

/** Boxes that learn from their own rows alone. */
async function alone(name: string): Promise<Way> {
  const found: Measured[] = [];
  for (const box of sample(boxes, experiment.alone, randomFor(seed, "alone"))) {
    const local = { ...localSteps(box), steps: steps * rounds };
    const { parameters } = await whole.train(whole.start, shares[box], local);
    found.push(await whole.accuracy(parameters, SHOWN));
    tell(name, found.length, found.at(-1)!.accuracy);
  }
  const accuracy = mean(found.map((each) => each.accuracy));
  return { name, points: [[0, accuracy]], records: [], accuracy, rows: found[0].rows };
}

function tell(name: string, round: number, accuracy: number): void {
  console.error(`${name} ${round}: ${(100 * accuracy).toFixed(1)}%`);
}

/** The result of an earlier call with the same numbers, else of this one. */
async function once(name: string, measure: (name: string) => Promise<Way>): Promise<Way> {
  const path = join(folder, `${name}.json`);
  const numbers = JSON.stringify(experiment);
  if (exists(path)) {
    const kept = JSON.parse(Deno.readTextFileSync(path));
    if (kept.numbers === numbers) return kept.way;
  }
  const way = await measure(name);
  Deno.writeTextFileSync(path, JSON.stringify({ numbers, way }));
  return way;
}

const without = { "norm-limit": 0.0, "examples-limit": 0.0 };
const measures: Readonly<Record<string, (name: string) => Promise<Way>>> = {
  "stack": (name) => fleet(name, { aggregation: "stack" }),
  "average": (name) => fleet(name, { aggregation: "average" }),
  "private": (name) => fleet(name, { aggregation: "private" }),
  "all data": together,
  "stack without limits": (name) => fleet(name, { aggregation: "stack", ...without }),
  "alone": alone,
};
const names = flags.only?.split(",") ?? Object.keys(measures);
const ways: Way[] = [];
for (const name of names) ways.push(await once(name, measures[name]));
if (flags.only !== undefined) Deno.exit(0);
const sizes = shares.map(({ length }) => length);
const classes = (rows: Uint32Array) => new Set(Array.from(rows, (row) => whole.classes[row])).size;
const page = learningPage(experiment, {
  ...{ rows: whole.classes.length, least: Math.min(...sizes), most: Math.max(...sizes) },
  ...{ classes: mean(shares.map(classes)), allClasses: new Set(whole.classes).size },
}, ways);
Deno.writeTextFileSync(join(flags.docs, PLOT), learningPlot(ways));
Deno.writeTextFileSync(join(flags.docs, "fleet-learning.md"), page);
const formatted = new Deno.Command(Deno.execPath(), {
  args: ["fmt", "--quiet", join(flags.docs, "fleet-learning.md")],
});
if (!formatted.outputSync().success) throw new Error("The page cannot be formatted");
