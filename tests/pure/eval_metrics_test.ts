import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { ClassificationMetrics } from "../../src/eval/metrics.ts";

/** Metrics of predictions given as [predicted, actual], with one logit of 1 and zeros beside it. */
function metricsOf(classes: number, pairs: readonly (readonly [number, number])[]) {
  const metrics = new ClassificationMetrics(classes);
  for (const [predicted, actual] of pairs) {
    metrics.add(Array.from({ length: classes }, (_, c) => c === predicted ? 1 : 0), actual);
  }
  return metrics;
}

Deno.test("ClassificationMetrics counts accuracy and the mean F1 of classes", () => {
  // Class 0: 2 right, 1 missed, 0 wrongly called: F1 4/5. Class 1: 1 right, 1 wrongly called, 1
  // missed: 2/4. Class 2: 1 right, 1 wrongly called: 2/3.
  const metrics = metricsOf(3, [[0, 0], [0, 0], [1, 0], [1, 1], [2, 1], [2, 2]]);
  assertAlmostEquals(metrics.accuracy, 4 / 6, 1e-12);
  assertAlmostEquals(metrics.macroF1, (4 / 5 + 1 / 2 + 2 / 3) / 3, 1e-12);
  assertEquals(metrics.count, 6);
});

Deno.test("ClassificationMetrics leaves classes that never occur out of macro F1", () => {
  assertEquals(metricsOf(50, [[0, 0], [1, 1]]).macroF1, 1);
});

Deno.test("ClassificationMetrics gives the mean cross-entropy, finite for logits of any size", () => {
  const metrics = metricsOf(2, [[0, 0], [0, 1]]);
  const right = Math.log(1 + Math.exp(-1));
  assertAlmostEquals(metrics.loss, right + 0.5, 1e-12);
  metrics.add([5000, -5000], 1);
  assert(Number.isFinite(metrics.loss) && metrics.loss > 3000);
});
