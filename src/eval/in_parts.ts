/** Batches made small enough that the logits of their targets fit a bounded memory. */
import { sliceBatch } from "../data/slice_batch.ts";
import { IGNORED, type TokenBatch } from "../data/targets.ts";
import type { Graph } from "../graph/types.ts";

/** Bytes of float32 logits that a run may make; the loss takes about as much again beside them. */
const LOGITS_BYTES = 64 << 20;

/** Rows of logits a run may make; unbounded where the graph does not state its vocabulary. */
export function logitRowLimit(graph: Graph): number {
  const vocabulary = graph.outputs.find(({ name }) => name === "logits")?.type?.shape?.at(-1);
  return typeof vocabulary === "number"
    ? Math.max(1, Math.floor(LOGITS_BYTES / 4 / vocabulary))
    : Infinity;
}

/**
 * The same sequences in the same order, in batches of at most `rowLimit` targets; a sequence that
 * has more goes alone.
 */
export async function* inParts(
  batches: AsyncIterable<TokenBatch> | Iterable<TokenBatch>,
  rowLimit: number,
): AsyncGenerator<TokenBatch> {
  for await (const batch of batches) {
    const targets = targetsBySequence(batch);
    let start = 0;
    let rows = 0;
    for (let s = 0; s < targets.length; s++) {
      if (rows + targets[s] > rowLimit && s > start) {
        yield sliceBatch(batch, start, s);
        start = s;
        rows = 0;
      }
      rows += targets[s];
    }
    yield sliceBatch(batch, start, targets.length);
  }
}

function targetsBySequence({ inputIds, labels = [] }: TokenBatch): number[] {
  const [sequences, length] = inputIds.dims;
  return Array.from({ length: sequences }, (_, s) => {
    let count = 0;
    for (let t = 1; t < length; t++) if (labels[s * length + t] !== IGNORED) count++;
    return count;
  });
}
