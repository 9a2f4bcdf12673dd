/** Models as `graft quantize` makes them, in memory. */
import type { Model } from "../../src/graph/types.ts";
import { findModules } from "../../src/lora/modules.ts";
import { planQuantize, type QuantizeOptions } from "../../src/quant/quantize_model.ts";

/** The model with its linear layers quantised, the head that makes the logits among them. */
export function quantized(model: Model, options: QuantizeOptions): Model {
  const plan = planQuantize(model, findModules(model, { allowAmbiguous: true }), options);
  const initializers = new Map(plan.model.graph.initializers);
  for (const task of plan.tasks) {
    for (const [name, value] of task.compute().tensors) {
      initializers.set(name, { ...value, bytes: value.bytes.slice() });
    }
  }
  return { ...plan.model, graph: { ...plan.model.graph, initializers } };
}
