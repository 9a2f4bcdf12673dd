/** Trains vectors of a graph where they are, and puts trained ones into it. */
import { int } from "../../graph/attributes.ts";
import { ONNX_TYPE } from "../../graph/dtype.ts";
import { elementCount, float32, int64, type Tensor, toNumbers } from "../../graph/tensor.ts";
import type { Model, Node } from "../../graph/types.ts";
import { verify } from "../../graph/verify.ts";
import { BadInputError } from "../../errors.ts";
import { floatTensor } from "../../quant/numbers.ts";
import { indexGraph } from "../graph_index.ts";
import { splitShared } from "../split_shared.ts";
import type { Trainable, WithTrainable } from "../trainable.ts";
import { findVectors, type ModuleVector } from "./find.ts";

/** Name of a vector in files, after PEFT's prefix. */
export const vectorName = ({ path, which }: Pick<ModuleVector, "path" | "which">): string =>
  `${path}.${which}`;

/** Trained vectors by {@linkcode vectorName}, float32. */
export type TrainedVectors = ReadonlyMap<string, Tensor>;

/** A model whose chosen vectors are initializers that nothing else reads. */
export interface OwnVectors {
  readonly model: Model;
  readonly vectors: readonly ModuleVector[];
}

/** Gives vectors initializers of their own: exporters merge equal ones. */
export function ownVectors(base: Model, wanted: readonly ModuleVector[]): OwnVectors {
  let model = base;
  /** Slices of one vector stay together. */
  const names = new Map<string, string>();
  const vectors = wanted.map((vector) => {
    const outputs = new Set(vector.readers.map((node) => node.outputs[0]));
    const key = JSON.stringify([vector.value, ...outputs]);
    let name = names.get(key);
    if (name === undefined) {
      model = lifted(model, vector.value);
      // Splitting replaces nodes.
      const readers = model.graph.nodes.filter((node) => outputs.has(node.outputs[0]));
      ({ model, name } = splitShared(model, vector.value, readers));
      names.set(key, name);
    }
    return { ...vector, value: name };
  });
  return { model, vectors };
}

/** The model with the `Constant` node of a value replaced by an initializer. */
function lifted(model: Model, value: string): Model {
  const { graph } = model;
  if (graph.initializers.has(value)) return model;
  const stored = indexGraph(graph).constant(value)!;
  return {
    ...model,
    graph: {
      ...graph,
      initializers: new Map([...graph.initializers, [value, stored]]),
      nodes: graph.nodes.filter(({ outputs }) => !outputs.includes(value)),
    },
  };
}

/**
 * Makes vectors trainable, as float32 initializers [n]; what their readers read is computed from these where
 * it has another type or shape, or is the vector of a fused layer.
 */
export function trainVectors({ model, vectors }: OwnVectors): WithTrainable {
  const { graph } = model;
  const initializers = new Map(graph.initializers);
  const trainable = new Map<string, Trainable>();
  const nodes: Node[] = [];
  for (const [value, parts] of Map.groupBy(vectors, ({ value }) => value)) {
    const stored = graph.initializers.get(value)!;
    const numbers = Float32Array.from(toNumbers(stored));
    const pieces: string[] = [];
    let at = 0;
    const put = (name: string, from: number, to: number) => {
      initializers.set(name, float32([to - from], numbers.slice(from, to)));
      pieces.push(name);
      at = to;
    };
    const sorted = parts.toSorted((a, b) => (a.slice?.offset ?? 0) - (b.slice?.offset ?? 0));
    for (const vector of sorted) {
      const { path, which, slice } = vector;
      const [from, size] = [slice?.offset ?? 0, slice?.size ?? numbers.length];
      if (from > at) put(`${value}.frozen.${at}`, at, from);
      const name = `${vectorName(vector)}.trained`;
      put(name, from, from + size);
      trainable.set(name, { path, which: `vector ${which}`, dims: [size] });
    }
    if (at < numbers.length) put(`${value}.frozen.${at}`, at, numbers.length);
    initializers.delete(value);
    nodes.push(...assembled(value, stored, pieces, initializers));
  }
  const edited = { ...graph, initializers, nodes: [...nodes, ...graph.nodes] };
  return { model: { ...model, graph: verify(edited, "trainVectors()") }, trainable };
}

/** The nodes that make a vector of its pieces. */
function assembled(
  value: string,
  { dtype, dims }: Tensor,
  pieces: readonly string[],
  initializers: Map<string, Tensor>,
): Node[] {
  const nodes: Node[] = [];
  let last = pieces[0];
  const steps: [string, string[], Node["attributes"]][] = [];
  if (pieces.length > 1) steps.push(["Concat", [...pieces], { axis: int(0) }]);
  if (dims.length !== 1) {
    const shape = `${value}.shape`;
    initializers.set(shape, int64([dims.length], dims));
    steps.push(["Reshape", ["", shape], {}]);
  }
  if (dtype !== "float32") steps.push(["Cast", [""], { to: int(ONNX_TYPE[dtype]) }]);
  if (steps.length === 0) steps.push(["Identity", [""], {}]);
  steps.forEach(([opType, inputs, attributes], i) => {
    const output = i === steps.length - 1 ? value : `${value}.assembled.${i}`;
    const read = inputs.map((input) => input === "" ? last : input);
    nodes.push({ name: output, opType, domain: "", inputs: read, outputs: [output], attributes });
    last = output;
  });
  return nodes;
}

/**
 * A model with trained vectors in place of its own.
 *
 * @throws {BadInputError} for a vector that the model does not have, or has in another size
 */
export function withVectors(base: Model, values: TrainedVectors): OwnVectors {
  const own = ownVectors(base, savedVectors(base, values));
  const { graph } = own.model;
  const initializers = new Map(graph.initializers);
  for (const vector of own.vectors) {
    const stored = initializers.get(vector.value)!;
    const numbers = Float32Array.from(toNumbers(stored));
    numbers.set(
      Float32Array.from(toNumbers(values.get(vectorName(vector))!)),
      vector.slice?.offset,
    );
    initializers.set(vector.value, floatTensor(stored.dtype, stored.dims, numbers));
  }
  return { ...own, model: { ...own.model, graph: { ...graph, initializers } } };
}

/**
 * The vectors that an adapter has.
 *
 * @throws {BadInputError} for a vector that the model does not have, or has in another size
 */
export function savedVectors(model: Model, values: TrainedVectors): readonly ModuleVector[] {
  const index = indexGraph(model.graph);
  const known = new Map(findVectors(model).map((vector) => [vectorName(vector), vector]));
  return Array.from(values, ([name, { dims }]) => {
    const vector = known.get(name);
    if (vector === undefined) {
      const hint = [...known.keys()].slice(0, 3).join(", ");
      throw new BadInputError(
        `The adapter has a trained "${name}", which the base does not have; it has ${hint}`,
      );
    }
    const size = vector.slice?.size ?? elementCount(index.constant(vector.value)!.dims);
    if (`${dims}` === `${size}`) return vector;
    throw new BadInputError(
      `The adapter's "${name}" must be [${size}]: current shape is [${dims}]`,
    );
  });
}
