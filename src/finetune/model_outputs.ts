/** What a model's output `logits` scores: tokens, classes, or nothing yet. */
import { type LabelMap, labelsToTrain } from "../data/mod.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../graph/types.ts";

/** Whether a model already scores classes or tokens. */
export function hasLogits(model: Model): boolean {
  return model.graph.outputs.some(({ name }) => name === "logits");
}

/**
 * Checks that a model can learn to continue texts.
 *
 * @throws {UsageError} if it scores whole texts, or nothing
 */
export function checkScoresTokens({ graph: { outputs } }: Model, source: string): void {
  const logits = outputs.find(({ name }) => name === "logits");
  // If the graph does not state the shape, the comparison with the lowered graph finds out.
  const shape = logits?.type?.shape;
  const rank = shape?.length ?? 3;
  if (shape !== undefined && rank === 3 && shape[1] === 1) {
    throw new UsageError(
      `Cannot learn the texts of ${source}: the model scores the last token alone: export it without ` +
        "that (onnxruntime-genai's builder: prune_lm_head=false)",
    );
  }
  if (logits !== undefined && rank === 3) return;
  const what = logits === undefined
    ? 'it has no output "logits"'
    : 'its output "logits" scores whole texts';
  throw new UsageError((name) =>
    `Cannot learn the texts of ${source}: the model is no language model: ${what}; ` +
    `for ${name("task", "classification")} the data needs a text and a label`
  );
}

/**
 * Class names in the order of a model's own classes, or sorted if it gets a new head.
 *
 * @param ownNames `id2label` of the model's config.json, if it has one
 * @throws {UsageError} if an existing head does not know a class
 */
export function labelsFor(
  model: Model,
  ownNames: LabelMap | undefined,
  found: ReadonlySet<string>,
  source: string,
): LabelMap {
  if (!hasLogits(model)) return labelsToTrain(found, source);
  if (ownNames !== undefined && [...found].every((name) => ownNames.includes(name))) {
    return ownNames;
  }
  const shape = model.graph.outputs.find(({ name }) => name === "logits")?.type?.shape;
  const classes = shape?.at(-1);
  if (shape === undefined || shape.length === 2 && typeof classes !== "number") {
    throw new UsageError(
      `Cannot learn the classes of ${source}: the model does not say how many its output "logits" ` +
        "scores; export it with the output's shape",
    );
  }
  if (shape.length !== 2 || typeof classes !== "number") {
    throw new UsageError((name) =>
      `Cannot learn the classes of ${source}: the model's output "logits" scores tokens, not whole ` +
      `texts; a language model learns the texts with ${name("task", "causal")}`
    );
  }
  const sorted = labelsToTrain(found, source);
  if (sorted.length <= classes) return sorted;
  throw new UsageError(
    `Cannot learn the classes of ${source}: the model's head has ${classes}: current value is ` +
      sorted.length,
  );
}

/** Rows of a language model's embedding, judged by its logits; `undefined` if they do not tell. */
export function vocabularyOf(model: Model): number | undefined {
  if (!hasLogits(model)) return undefined;
  const shape = model.graph.outputs.find(({ name }) => name === "logits")?.type?.shape;
  const last = shape?.length === 3 ? shape[2] : undefined;
  return typeof last === "number" ? last : undefined;
}
