/** A digest of data as a model reads it: tokens, masks and targets, batch by batch. */
import { createHash } from "node:crypto";
import type { TokenBatch } from "./targets.ts";

/** SHA-256 of batches in their order, as `sha256:<hex>`. */
export async function batchesDigest(
  batches: AsyncIterable<TokenBatch> | Iterable<TokenBatch>,
): Promise<string> {
  const hash = createHash("sha256");
  for await (const { inputIds, attentionMask, labels, classIds } of batches) {
    const named = [inputIds.dims, Array.from(labels ?? []), Array.from(classIds ?? [])];
    hash.update(JSON.stringify(named) + "\n").update(inputIds.bytes).update(attentionMask.bytes);
  }
  return `sha256:${hash.digest("hex")}`;
}
