import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { NearestCentroid } from "../../src/eval/nearest_centroid.ts";

Deno.test("NearestCentroid scores by the cosine with each class's mean", () => {
  const centroids = new NearestCentroid();
  centroids.add([1, 0], 0);
  centroids.add([0, 1], 0);
  centroids.add([-1, 0], 1);
  const scores = centroids.scores([2, 2]);
  assertEquals(scores.length, 2);
  assertAlmostEquals(scores[0], 1, 1e-6);
  assertAlmostEquals(scores[1], -Math.SQRT1_2, 1e-6);
});

Deno.test("NearestCentroid ranks a class without examples last", () => {
  const centroids = new NearestCentroid();
  centroids.add([1, 0], 2);
  assertEquals(centroids.classes, 3);
  const [zero, one, two] = centroids.scores([-0.9, 0.1]);
  assert(two > zero && zero === one);
});

Deno.test("NearestCentroid gives a vector of zeros to no class", () => {
  const centroids = new NearestCentroid();
  centroids.add([1, 0], 0);
  assertEquals([...centroids.scores([0, 0])], [0]);
});
