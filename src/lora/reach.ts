/** Finds the linear layers that the loss depends on. */
import { neededNodes } from "../graph/passes/prune.ts";
import type { Model } from "../graph/types.ts";
import { UsageError } from "../errors.ts";
import { LOGITS_OUTPUT, tokenStates } from "./head.ts";
import { callsOf, type LinearModule } from "./modules.ts";

/** Whether the loss depends on a module. */
export type Reach = (module: LinearModule) => boolean;

/**
 * Finds the layers that the loss depends on: through `logits`, or through the token states that a new
 * head reads. BERT's pooler, for example, has a separate output, and no gradient beside a new head.
 */
export function reachOf(model: Model): Reach {
  const output = lossOutput(model);
  if (output === undefined) return () => true;
  const needed = neededNodes(model.graph.nodes, [output]);
  const values = new Set(needed.flatMap(({ outputs }) => outputs));
  return (module) => callsOf(module).some((call) => values.has(call.output));
}

/**
 * The output that the loss is computed from; `undefined` if there is none, which is reported when it is
 * needed.
 */
export function lossOutput(model: Model): string | undefined {
  if (model.graph.outputs.some(({ name }) => name === LOGITS_OUTPUT)) return LOGITS_OUTPUT;
  try {
    return tokenStates(model).name;
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}
