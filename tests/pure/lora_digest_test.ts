import { assertEquals } from "@std/assert";
import { float32 } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { modelDigest } from "../../src/lora/digest.ts";

Deno.test("modelDigest() tells of all bytes of the weights once it has read them", () => {
  const model = (): Model => ({
    ...{ irVersion: 10, opsets: { "": 21 }, metadata: {} },
    graph: {
      ...{ name: "g", nodes: [], inputs: [], outputs: [], valueInfo: new Map() },
      initializers: new Map([["w", float32([2], [3, 4])], ["v", float32([1], [5])]]),
    },
  });
  const read: Uint8Array[] = [];
  const digest = modelDigest(model(), (bytes) => read.push(bytes));
  assertEquals(digest, modelDigest(model()));
  assertEquals(read.map((bytes) => [...new Float32Array(bytes.slice().buffer)]), [[5], [3, 4]]);
});
