/** Plans at a batch in a form that does not say which numbers were sizes when they were planned. */
import { float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph, Model } from "../../src/graph/types.ts";
import { bytesText, digestOfContents, textOf } from "../../src/graph/graph_text.ts";
import type { PlannedCall } from "../../src/plan/call.ts";
import { graphAt } from "../../src/plan/call_graph.ts";
import type { TrainingPlan } from "../../src/plan/plan.ts";
import type { Schedule } from "../../src/plan/schedule.ts";

/** Constants larger than this are told by a digest. */
const SHOWN_BYTES = 256;

/** Constants where they are read: which of them are equal by chance makes no difference. */
export function inlined(graph: Graph, constants: ReadonlyMap<string, Tensor> = new Map()): Graph {
  const text = (tensor: Tensor) => {
    const { dtype, dims, bytes } = tensor;
    return `${dtype}[${dims}]${
      bytes.length <= SHOWN_BYTES ? bytesText(bytes) : digestOfContents(tensor)
    }`;
  };
  const all = new Map([...graph.initializers, ...constants]);
  const nodes = graph.nodes.map((node) => ({
    ...node,
    inputs: node.inputs.map((name) => {
      const constant = all.get(name);
      return constant === undefined ? name : text(constant);
    }),
  }));
  const inputs = graph.inputs.filter(({ name }) => !constants.has(name));
  return { ...graph, inputs, nodes, initializers: new Map() };
}

/**
 * A plan whose calls have the text of their graphs at the batch for a key, with all constants in it that
 * are none of the model's.
 */
export function planAtBatch({ graph }: Model, plan: TrainingPlan): TrainingPlan {
  const { training, evaluation, logits } = plan;
  const own = (name: string) => graph.initializers.has(name) ? undefined : plan.constants.get(name);
  return {
    ...plan,
    training: atBatch(training, own),
    evaluation: atBatch(evaluation, own),
    logits: atBatch(logits, own),
  };
}

/** What is made of constants alone as constants: of those that are fed the runtime computes it. */
function folded(
  graph: Graph,
  constants: ReadonlyMap<string, Tensor>,
): readonly [Graph, ReadonlyMap<string, Tensor>] {
  const all = new Map(constants);
  const constantOf = (name: string) => all.get(name) ?? graph.initializers.get(name);
  const nodes = graph.nodes.filter(({ opType, inputs, outputs: [y] }) => {
    const [x, shape] = inputs.map(constantOf);
    if (opType === "Neg" && x?.dtype === "float32") {
      all.set(y, float32(x.dims, Array.from(toNumbers(x), (v) => -Number(v))));
    } else if (opType === "Reshape" && x !== undefined && shape !== undefined) {
      all.set(y, { ...x, dims: Array.from(toNumbers(shape), Number) });
    } else return true;
    return false;
  });
  return [{ ...graph, nodes }, all];
}

function atBatch(schedule: Schedule, constantOf: (name: string) => Tensor | undefined): Schedule {
  const { calls, sizes } = schedule;
  const callAt = (call: PlannedCall): PlannedCall => {
    const constants = new Map<string, Tensor>();
    for (const [input, name] of call.feeds) {
      const constant = call.sized.has(input) ? undefined : constantOf(name);
      if (constant !== undefined) constants.set(input, constant);
    }
    const graph = inlined(...folded(graphAt(call, sizes), constants));
    const computed = graph.nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ""));
    const names = new Map([
      ...graph.inputs.map(({ name }, i) => [name, `i${i}`] as const),
      ...computed.map((name, i) => [name, `v${i}`] as const),
    ]);
    const renamed = (name: string) => names.get(name) ?? name;
    const named = {
      ...graph,
      inputs: graph.inputs.map((info) => ({ ...info, name: renamed(info.name) })),
      outputs: graph.outputs.map((info) => ({ ...info, name: renamed(info.name) })),
      nodes: graph.nodes.map((node) => ({
        ...node,
        inputs: node.inputs.map(renamed),
        outputs: node.outputs.map(renamed),
      })),
    };
    const read = new Set(graph.inputs.map(({ name }) => name));
    const feeds = [...call.feeds].filter(([input]) => read.has(input));
    return {
      ...call,
      key: textOf(named),
      feeds: new Map(feeds.map(([input, name]) => [renamed(input), name])),
      fetches: new Map([...call.fetches].map(([output, name]) => [renamed(output), name])),
    };
  };
  return { ...schedule, calls: calls.map(callAt) };
}
