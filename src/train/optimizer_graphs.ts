/** The graphs of an optimiser step: the squared norm of all gradients, the update of all parameters. */
import { int } from "../graph/attributes.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph, Model } from "../graph/types.ts";
import { inferTraining, TRAINING_OPSETS } from "../ops/registry.ts";
import { type OptimizerSettings, UPDATE_RULES } from "./update_rules.ts";

/** Name of the scalar input by which gradients are multiplied. */
export const GRADIENT_SCALE = "gradient_scale";

/** Value names of one parameter in the graphs, by its place in the list of parameters. */
export function valueNames(index: number, slots: readonly string[]) {
  return {
    parameter: `parameter.${index}`,
    grad: `grad.${index}`,
    slots: slots.map((slot) => `${slot}.${index}`),
    newParameter: `new_parameter.${index}`,
    newSlots: slots.map((slot) => `new_${slot}.${index}`),
  };
}

function model(graph: Graph): Model {
  // IR version 10 came with operator set 21.
  return { irVersion: 10, opsets: TRAINING_OPSETS, graph, metadata: {} };
}

/** `grad.0 … grad.n-1` → `squared_norm` [], the sum of the squares of all their elements. */
export function squaredNormModel(dims: readonly (readonly number[])[]): Model {
  const b = new GraphBuilder(inferTraining);
  const squares = dims.map((shape, i) => {
    const grad = b.input(valueNames(i, []).grad, "float32", shape);
    return b.op("ReduceSum", [b.op("Mul", [grad, grad])], { keepdims: int(0) });
  });
  const sum = squares.reduce((total, square) => b.op("Add", [total, square]));
  b.emit({
    opType: "Identity",
    domain: "",
    inputs: [sum],
    attributes: {},
    outputs: ["squared_norm"],
  });
  return model(b.build("gradient_norm", ["squared_norm"]));
}

/**
 * Parameters, gradients, moments and scalars → new parameters and moments
 * (names: {@linkcode valueNames}).
 *
 * @returns the model and the names of its scalar inputs (float32 [])
 */
export function updateModel(
  dims: readonly (readonly number[])[],
  settings: OptimizerSettings,
): { readonly model: Model; readonly scalars: readonly string[] } {
  const rule = UPDATE_RULES[settings.name];
  const b = new GraphBuilder(inferTraining);
  const scalars = [GRADIENT_SCALE, ...Object.keys(rule.scalars(settings, 0, 1))];
  for (const name of scalars) b.input(name, "float32", []);
  const scalarValues = Object.fromEntries(scalars.map((name) => [name, name]));
  const outputs: string[] = [];
  const rename = (value: string, name: string) => {
    b.emit({ opType: "Identity", domain: "", inputs: [value], attributes: {}, outputs: [name] });
    outputs.push(name);
  };
  dims.forEach((shape, i) => {
    const names = valueNames(i, rule.slots);
    const parameter = b.input(names.parameter, "float32", shape);
    const grad = b.op("Mul", [b.input(names.grad, "float32", shape), GRADIENT_SCALE]);
    const slots = names.slots.map((name) => b.input(name, "float32", shape));
    const updated = rule.emit(b, settings, parameter, grad, slots, scalarValues);
    rename(updated.parameter, names.newParameter);
    updated.slots.forEach((slot, k) => rename(slot, names.newSlots[k]));
  });
  return { model: model(b.build("optimizer_update", outputs)), scalars };
}
