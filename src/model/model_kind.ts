/** What a model is for, as its graph's inputs and outputs show. */
import type { Graph } from "../graph/types.ts";
import { isCache } from "../plan/inputs.ts";

/** A language model, a classifier of texts, or an encoder of texts into vectors. */
export type ModelKind = "causal" | "classifier" | "encoder";

/** A cache or scores per token make a language model, scores per text a classifier. */
export function modelKind({ inputs, outputs }: Graph): ModelKind {
  const logits = outputs.find(({ name }) => name === "logits");
  if (logits === undefined) return "encoder";
  const perToken = logits.type?.shape?.length === 3;
  return perToken || inputs.some(({ name }) => isCache(name)) ? "causal" : "classifier";
}

/** Number of scores of a position or text, where the graph states it. */
export function classCount({ outputs }: Graph): number | undefined {
  const last = outputs.find(({ name }) => name === "logits")?.type?.shape?.at(-1);
  return typeof last === "number" ? last : undefined;
}
