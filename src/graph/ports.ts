/** Checks the declared sizes of a graph's inputs and outputs against the size of its weights. */
import { graphsWithin } from "./nested.ts";
import { elementCount } from "./tensor.ts";
import type { Graph, ValueInfo } from "./types.ts";

/** Elements that the inputs, or the outputs, of any model may have in total. */
const ANY_MODEL = 1 << 22;
/** Further elements per byte of weights: caches of long texts, logits of many tokens. */
const PER_BYTE = 8;

/** Elements of a value, by its fixed dimensions. */
const statedCount = ({ type }: ValueInfo) =>
  elementCount((type?.shape ?? []).filter((dim) => typeof dim === "number"));

function problemOf(what: string, values: readonly ValueInfo[], most: number): string | undefined {
  const sum = values.reduce((sum, value) => sum + statedCount(value), 0);
  if (sum <= most) return undefined;
  const largest = values.reduce((a, b) => statedCount(a) > statedCount(b) ? a : b);
  return `the ${what}s have ${sum} elements, more than ${most} for weights of this size: ` +
    `${what} "${largest.name}" is [${largest.type!.shape!.join(", ")}]`;
}

/**
 * Describes the problem with the sizes of a graph's inputs or outputs, if any: memory of the declared
 * size is allocated for them, and a few bytes can declare any size.
 */
export function portProblem(graph: Graph): string | undefined {
  const weights = [...graphsWithin(graph)].flatMap((each) => [...each.initializers.values()]);
  const bytes = weights.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  const most = Math.max(ANY_MODEL, PER_BYTE * bytes);
  const fed = graph.inputs.filter(({ name }) => !graph.initializers.has(name));
  return problemOf("input", fed, most) ?? problemOf("output", graph.outputs, most);
}
