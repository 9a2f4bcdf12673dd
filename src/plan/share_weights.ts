/**
 * Moves what calls compute from frozen weights alone (unpacked floats, transposed weights) into separate
 * calls, each one call ahead of the one that reads the result. Parts of a batch that run in parallel then
 * share the result, and take turns in computing it, instead of each computing it for itself.
 */
import { isAtMost, productOf } from "../graph/extent_arithmetic.ts";
import type { Graph, Node } from "../graph/types.ts";
import { traitsOf } from "../ops/registry.ts";
import { canonicalCall, type PlannedCall } from "./call.ts";
import { knownValues, wholeGraph } from "./call_graph.ts";
import { sharedName } from "./names.ts";

/** Values with fewer elements are not worth a call. */
const LEAST_ELEMENTS = 2 ** 12;

/**
 * @param calls in the order in which they run
 * @param frozen names of tensors that do not change from step to step
 */
export function withSharedWeights(
  calls: readonly PlannedCall[],
  frozen: ReadonlySet<string>,
): readonly PlannedCall[] {
  const splits = new Map<Graph, Map<string, Split | undefined>>();
  const splitOf = (call: PlannedCall) => {
    const { graph, feeds } = call;
    const own = [...feeds].filter(([, name]) => frozen.has(name)).map(([input]) => input);
    const known = splits.get(graph) ?? new Map<string, Split | undefined>();
    splits.set(graph, known);
    const key = own.join();
    if (!known.has(key)) known.set(key, split(wholeGraph(call), new Set(own)));
    return known.get(key);
  };
  const parts = calls.map((call, i): Apart => {
    const found = splitOf(call);
    return found === undefined ? { call } : apart(call, found, i);
  });
  return parts.flatMap(({ call }, i) => {
    const ahead = [...i === 0 ? [parts[0]] : [], parts[i + 1]];
    return [...ahead.flatMap((part) => part?.weights ?? []), call];
  });
}

/** A call, and the one that computes what it reads of weights. */
interface Apart {
  readonly call: PlannedCall;
  readonly weights?: PlannedCall;
}

/**
 * A call in two parts: one computes what depends on frozen inputs alone, the other reads that. Feeds and
 * results have the names that they have in the call's graph.
 */
interface Split {
  readonly weights: PlannedCall;
  readonly rest: PlannedCall;
}

function split(graph: Graph, frozen: ReadonlySet<string>): Split | undefined {
  const nested = graph.nodes.some(({ attributes }) =>
    Object.values(attributes).some(({ kind }) => kind === "graph")
  );
  if (frozen.size === 0 || nested) return undefined;
  const made = new Map<string, Node>();
  const isOfWeights = (name: string) => frozen.has(name) || made.has(name);
  for (const node of graph.nodes) {
    const inputs = node.inputs.filter((name) => name !== "" && !graph.initializers.has(name));
    if (inputs.length === 0 || !inputs.every(isOfWeights)) continue;
    for (const output of node.outputs) made.set(output, node);
  }
  const builder = knownValues(graph);
  const known = (name: string) => builder.known(name);
  const early = new Set(made.values());
  const late = graph.nodes.filter((node) => !early.has(node));
  const wide = late.flatMap(({ inputs }) => inputs)
    .filter((name) => made.has(name) && isAtMost(LEAST_ELEMENTS, productOf(builder.shape(name))));
  const shared = [...new Set(wide.flatMap((name) => workFor(name, made) ?? []))];
  if (shared.length === 0) return undefined;
  const given = new Set(shared);
  const others = graph.nodes.filter(({ outputs }) => !outputs.some((name) => given.has(name)));
  const fed = new Set([...graph.inputs.map(({ name }) => name), ...given]);
  const piece = (nodes: Iterable<Node>, inputs: ReadonlySet<string>, made: readonly string[]) => {
    const outputs = new Map(made.map((name) => [name, name]));
    return canonicalCall([...nodes], { inputs, constants: graph.initializers, known }, outputs, "");
  };
  return {
    weights: piece(early, frozen, shared),
    rest: piece(others, fed, graph.outputs.map(({ name }) => name)),
  };
}

/**
 * The value of which another is a view in a different shape, since a graph that ends with a view copies it;
 * `undefined` where it takes no work.
 */
function workFor(name: string, made: ReadonlyMap<string, Node>): string | undefined {
  const node = made.get(name);
  return node !== undefined && traitsOf(node).memory === "view"
    ? workFor(node.inputs[0], made)
    : node && name;
}

/** @param number index of the call in the step */
function apart(call: PlannedCall, { weights, rest }: Split, number: number): Apart {
  const shared = new Map(
    [...weights.fetches.values()].map((name, i) => [name, sharedName(number, i)]),
  );
  // A constant that follows from a batch's sizes already has its name.
  const named = (of: ReadonlyMap<string, string>, names: ReadonlyMap<string, string>) =>
    new Map([...of].map(([name, value]) => [name, shared.get(value) ?? names.get(value) ?? value]));
  const { label, feeds, fetches } = call;
  return {
    weights: {
      ...weights,
      label: `${label}, weights`,
      feeds: named(weights.feeds, feeds),
      fetches: named(weights.fetches, shared),
      isShared: true,
    },
    call: {
      ...rest,
      label,
      feeds: named(rest.feeds, feeds),
      fetches: named(rest.fetches, fetches),
    },
  };
}
