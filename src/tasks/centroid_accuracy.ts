/** Accuracy of the untrained base: the class with the nearest mean embedding. */
import { targetsOf, type TokenBatch } from "../data/targets.ts";
import { ClassificationMetrics } from "../eval/metrics.ts";
import { NearestCentroid } from "../eval/nearest_centroid.ts";
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import { withSentenceEmbedding } from "../serve/embedding_graph.ts";
import { EncoderModel } from "../serve/encoder_model.ts";
import type { BatchSource } from "../train/step.ts";

/**
 * Accuracy of an untrained base encoder: a held-out text gets the class whose training texts have the nearest
 * mean embedding.
 *
 * @returns share of correct answers on `heldOut`
 */
export async function centroidAccuracy(
  runner: Runner,
  base: Model,
  train: BatchSource<TokenBatch>,
  heldOut: BatchSource<TokenBatch>,
): Promise<number> {
  const model = withSentenceEmbedding(base);
  using executable = await runner.compile(model, { label: "base" });
  using encoder = new EncoderModel(runner, executable, model.graph);
  const centroids = new NearestCentroid();
  for await (const { vector, label } of embeddings(encoder, train)) centroids.add(vector, label);
  const metrics = new ClassificationMetrics(centroids.classes);
  for await (const { vector, label } of embeddings(encoder, heldOut)) {
    metrics.add(centroids.scores(vector), label);
  }
  return metrics.accuracy;
}

async function* embeddings(encoder: EncoderModel, batches: BatchSource<TokenBatch>) {
  for (let i = 0; i < batches.batches(0); i++) {
    const batch = await batches.batch(0, i);
    const { labels } = targetsOf(batch);
    for (const [row, vector] of (await encoder.embed(batch)).entries()) {
      yield { vector, label: labels[row] };
    }
  }
}
