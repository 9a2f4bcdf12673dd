/** A model that 8 bits ruin: one channel of its normalised activations towers above the others. */
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";

/**
 * The same function in float32: channel 0 of the normalisations' gain times `factor`, and the rows
 * of the weights that read it divided by it.
 *
 * @param model tiny-llama-torch-fp32, whose normalisations share one gain
 */
export function withOutlier(model: Model, factor: number): Model {
  const { nodes } = model.graph;
  const initializers = new Map(model.graph.initializers);
  const gain = [...initializers.keys()].find((name) => name.endsWith("layernorm.weight"))!;
  const scaled = (name: string, count: number, by: number) => {
    const { dims } = initializers.get(name)!;
    const values = Float32Array.from(toNumbers(initializers.get(name)!));
    for (let i = 0; i < count; i++) values[i] *= by;
    initializers.set(name, float32(dims, values));
  };
  scaled(gain, 1, factor);
  const normalised = new Set(
    nodes.filter(({ inputs }) => inputs.includes(gain)).map(({ outputs }) => outputs[0]),
  );
  const weights = new Set(
    nodes.filter(({ opType, inputs }) => opType === "MatMul" && normalised.has(inputs[0]))
      .map(({ inputs }) => inputs[1]),
  );
  for (const weight of weights) scaled(weight, initializers.get(weight)!.dims[1], 1 / factor);
  return { ...model, graph: { ...model.graph, initializers } };
}
