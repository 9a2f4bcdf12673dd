/**
 * The graphs of an optimiser step over a group of parameters: the squared norm of their gradients, and their
 * update. Both work on one vector of all elements, since an adapter's tensors are so small that the fixed
 * cost of an operator would take most of the time.
 */
import { int } from "../graph/attributes.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Model } from "../graph/types.ts";
import { inferTraining, TRAINING_OPSETS } from "../ops/registry.ts";
import { type OptimizerSettings, UPDATE_RULES } from "./update_rules.ts";

/** Shapes of a group's parameters. */
export type GroupDims = readonly (readonly number[])[];

/** Name of the scalar input by which gradients are multiplied. */
export const GRADIENT_SCALE = "gradient_scale";

/** Names of the scalar inputs of an update. */
export function scalarNames(settings: OptimizerSettings): readonly string[] {
  return [GRADIENT_SCALE, ...Object.keys(UPDATE_RULES[settings.name].scalars(settings, 0, 1))];
}

/** Names of a parameter's inputs, by its index in the group. */
export const inputNames = (index: number) => ({
  parameter: `parameter.${index}`,
  grad: `grad.${index}`,
  projection: `projection.${index}`,
});

/** `grad.0 … grad.n-1` → `squared_norm` [], the sum of the squares of all their elements. */
export function squaredNormModel(dims: GroupDims): Model {
  const b = new GraphBuilder(inferTraining);
  const grads = vectorOf(b, dims, (i) => inputNames(i).grad);
  b.emit({
    opType: "ReduceSum",
    domain: "",
    inputs: [b.op("Mul", [grads, grads])],
    attributes: { keepdims: int(0) },
    outputs: ["squared_norm"],
  });
  return model(b.build("gradient_norm", ["squared_norm"]));
}

/** The update of a group and the names of its values. */
export interface UpdateModel {
  readonly model: Model;
  /** Outputs: the new parameters, in order. */
  readonly parameters: readonly string[];
  /** Outputs: the new moments, vectors of all elements, in the order of the rule's slots. */
  readonly slots: readonly string[];
}

/**
 * Parameters, gradients ({@linkcode inputNames}), moments (vectors of all elements, named by their
 * slots) and scalars ({@linkcode scalarNames}, float32 []) → new parameters and moments.
 *
 * A moment is read before its next value is written and not after, so both may share memory.
 *
 * @param projected which gradients [out, rank] are multiplied by a matrix [rank, rank] first; default: none
 */
export function updateModel(
  dims: GroupDims,
  settings: OptimizerSettings,
  projected: readonly boolean[] = [],
): UpdateModel {
  const rule = UPDATE_RULES[settings.name];
  const b = new GraphBuilder(inferTraining);
  const scalars = scalarNames(settings);
  for (const name of scalars) b.input(name, "float32", []);
  const parameter = vectorOf(b, dims, (i) => inputNames(i).parameter);
  const grads = vectorOf(b, dims, (i) => inputNames(i).grad, (value, i) => {
    if (projected[i] !== true) return value;
    const rank = dims[i][1];
    return b.op("MatMul", [value, b.input(inputNames(i).projection, "float32", [rank, rank])]);
  });
  const grad = b.op("Mul", [grads, GRADIENT_SCALE]);
  const slots = rule.slots.map((name) => b.input(name, "float32", [sizeOf(dims)]));
  const values = Object.fromEntries(scalars.map((name) => [name, name]));
  const updated = rule.emit(b, settings, parameter, grad, slots, values);
  const parameters = tensorsOf(b, updated.parameter, dims);
  const graph = b.build("optimizer_update", [...parameters, ...updated.slots]);
  return { model: model(graph), parameters, slots: updated.slots };
}

/** Elements of a group. */
export function sizeOf(dims: GroupDims): number {
  return dims.reduce((sum, shape) => sum + elementCount(shape), 0);
}

/** Declares a group's tensors as inputs and concatenates their elements, or what is made of them. */
function vectorOf(
  b: GraphBuilder,
  dims: GroupDims,
  nameOf: (index: number) => string,
  made: (value: string, index: number) => string = (value) => value,
): string {
  const flat = dims.map((shape, i) =>
    b.reshape(made(b.input(nameOf(i), "float32", shape), i), [elementCount(shape)])
  );
  return flat.length === 1 ? flat[0] : b.op("Concat", flat, { axis: int(0) });
}

/** Splits such a vector again. */
function tensorsOf(b: GraphBuilder, vector: string, dims: GroupDims): string[] {
  const sizes = b.int64s(dims.map(elementCount));
  const flat = dims.length === 1
    ? [vector]
    : b.ops("Split", [vector, sizes], dims.length, { axis: int(0) });
  return flat.map((value, i) => b.reshape(value, dims[i]));
}

function model(graph: Graph): Model {
  // IR version 10 came with operator set 21.
  return { irVersion: 10, opsets: TRAINING_OPSETS, graph, metadata: {} };
}
