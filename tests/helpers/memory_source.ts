import type { RandomAccess } from "../../src/data/mod.ts";

/** A data set's source over bytes or text in memory. */
export function memorySource(name: string, content: Uint8Array | string): RandomAccess {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return {
    name,
    sizeBytes: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.slice(offset, offset + length)),
  };
}
