/**
 * Lowers a user's graph to the operators that graft differentiates, at concrete shapes.
 *
 * What runs at inference stays the user's graph; this one exists for training alone.
 */
import { GraphBuilder } from "../graph/builder.ts";
import type { Tensor } from "../graph/tensor.ts";
import { prune } from "../graph/passes/prune.ts";
import { type Graph, type Model, type Node, operatorName } from "../graph/types.ts";
import { inferTraining, ruleOf } from "../ops/registry.ts";
import { rewriteDynamicQuantization } from "../ops/quantized/pattern.ts";
import { GraftError } from "../errors.ts";
import type { BoundInput } from "./inputs.ts";

/** A lowered graph and what the user's values are called in it. */
export interface Lowered {
  readonly graph: Graph;
  /** Lowered name of each value of the user's graph that survived. */
  readonly names: ReadonlyMap<string, string>;
}

/**
 * @param model the user's model, adapters injected
 * @param bound concrete type of every input (see `bindInputs`)
 * @param outputs which of the user's outputs to keep
 * @throws {UnsupportedError} where an operator or one of its attributes is not supported, naming the node
 */
export function lowerForTraining(
  model: Model,
  bound: ReadonlyMap<string, BoundInput>,
  outputs: readonly string[],
): Lowered {
  const wanted = model.graph.outputs.filter((output) => outputs.includes(output.name));
  const source = prune(rewriteDynamicQuantization(
    prune({ ...model.graph, outputs: wanted }),
  ));
  const b = new GraphBuilder(inferTraining);
  for (const { name } of source.inputs) {
    if (source.initializers.has(name)) continue;
    const input = bound.get(name);
    if (input === undefined) throw new ReferenceError(`Input "${name}" is not bound`);
    // An empty cache is a constant: whatever reads only its shape melts away.
    if (input.dims.includes(0)) b.initializer(name, emptyTensor(input));
    else b.input(name, input.dtype, input.dims);
  }
  for (const [name, value] of source.initializers) b.initializer(name, value);

  const names = new Map<string, string>();
  const read = new Set(source.outputs.map((output) => output.name));
  for (const node of source.nodes) for (const input of node.inputs) read.add(input);
  for (const node of source.nodes) lowerNode(b, node, model, names, read);

  const graph = b.build(
    source.name,
    source.outputs.map((output) => names.get(output.name) ?? output.name),
  );
  return { graph: prune(graph), names };
}

function lowerNode(
  b: GraphBuilder,
  node: Node,
  model: Model,
  names: Map<string, string>,
  read: ReadonlySet<string>,
): void {
  const renamed: Node = {
    ...node,
    inputs: node.inputs.map((name) => names.get(name) ?? name),
    rest: undefined,
  };
  try {
    const opset = model.opsets[node.domain] ?? 1;
    const needed = node.outputs.map((output) => read.has(output));
    const lowered = ruleOf(node).lower?.(b, renamed, { opset, needed });
    if (lowered === undefined) b.add(renamed);
    else {
      node.outputs.forEach((output, i) => {
        if (output !== "" && lowered[i] !== undefined && lowered[i] !== "") {
          names.set(output, lowered[i]);
        }
      });
    }
  } catch (error) {
    if (error instanceof GraftError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new GraftError(
      `Cannot lower node "${node.name}" (${operatorName(node)}): ${message}`,
      65,
      { cause: error },
    );
  }
}

function emptyTensor({ dtype, dims }: BoundInput): Tensor {
  return { dtype, dims, bytes: new Uint8Array(0) };
}
