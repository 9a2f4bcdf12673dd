/** How long the kernels take for a step's work if they do nothing else. */
import { GraphBuilder, type Known } from "../../src/graph/builder.ts";
import type { Graph, Node } from "../../src/graph/types.ts";
import { TimedGraph } from "../../src/kernels/timed_graph.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import type { StepWork } from "./step_work.ts";

/** Seconds of a step. */
export interface WorkTimes {
  readonly products: number;
  /** Of the passes over memory, at the speed of one that multiplies two tensors of the mean size. */
  readonly passes: number;
}

/** Runs of each graph, after one that is left out; the fastest counts, since a ceiling is asked for. */
const RUNS = 5;
/** All of a step's passes go by one figure. */
const PASS_RUNS = 40;

/** Short nodes stand in a graph this often: so much more than calling the graph takes. */
const LEAST_MS = 2;
const MOST_COPIES = 16;

/** @throws {Error} where the runtime lacks a kernel that the plan uses */
export async function timeWork(runner: Runner, work: StepWork): Promise<WorkTimes> {
  let products = 0;
  for (const { node, inputs, count } of work.products) {
    products += count * await secondsOf(runner, node, inputs);
  }
  const factor: Known = { dtype: "float32", dims: [Math.ceil(work.meanBytes / 4)] };
  const pass = { opType: "Mul", domain: "", attributes: {} };
  const bytesPerSecond = 3 * work.meanBytes /
    await secondsOf(runner, pass, [factor, factor], PASS_RUNS);
  return { products, passes: work.passBytes / bytesPerSecond };
}

type OneNode = Pick<Node, "opType" | "domain" | "attributes">;

/** Seconds that one node takes. */
async function secondsOf(
  runner: Runner,
  node: OneNode,
  inputs: readonly (Known | undefined)[],
  runs = RUNS,
) {
  const once = await fastest(runner, copies(node, inputs, 1), runs);
  const count = Math.min(MOST_COPIES, Math.ceil(LEAST_MS / once));
  const time = count === 1 ? once : await fastest(runner, copies(node, inputs, count), runs);
  return time / count / 1000;
}

/** A graph of equal nodes that differ in what their first input holds: none is another one's copy. */
function copies(
  { opType, domain, attributes }: OneNode,
  inputs: readonly (Known | undefined)[],
  count: number,
): Graph {
  const b = new GraphBuilder(inferTraining);
  const declare = (name: string, known: Known | undefined) => {
    if (known === undefined) return "";
    const { dtype, dims, value } = known;
    return value === undefined ? b.input(name, dtype, dims) : b.initializer(name, value);
  };
  const shared = inputs.slice(1).map((known, i) => declare(`shared${i}`, known));
  const outputs = Array.from({ length: count }, (_, i) => {
    const own = declare(`x${i}`, inputs[0]);
    return b.emit({ opType, domain, attributes, inputs: [own, ...shared], outputCount: 1 })[0];
  });
  return b.build(`${count} times ${opType}`, outputs);
}

/** Milliseconds of the fastest run. */
async function fastest(runner: Runner, graph: Graph, runs: number): Promise<number> {
  using timed = await TimedGraph.compile(runner, graph);
  if (timed === undefined) throw new Error(`${runner.description} cannot run ${graph.name}`);
  await timed.milliseconds();
  let best = Infinity;
  for (let run = 0; run < runs; run++) best = Math.min(best, await timed.milliseconds());
  return best;
}
