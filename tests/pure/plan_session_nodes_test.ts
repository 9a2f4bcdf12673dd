import { assertEquals, assertNotEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { node } from "../../src/graph/node.ts";
import type { Graph } from "../../src/graph/types.ts";
import type { PlannedCall } from "../../src/plan/call.ts";
import { sessionNodes, shapeKind } from "../../src/plan/session_nodes.ts";

/** A chain of so many operators over a row of `size` numbers. */
function chain(opType: string, count: number, size: number): Graph {
  const type = { dtype: "float32", shape: [size] } as const;
  const names = Array.from({ length: count + 1 }, (_, i) => `x${i}`);
  return {
    name: opType,
    inputs: [{ name: names[0], type }],
    outputs: [{ name: names[count], type }],
    initializers: new Map(),
    nodes: names.slice(1).map((name, i) => node(opType, [names[i]], name)),
    valueInfo: new Map(),
  };
}

/** A layer of 4 nodes, and attention of 2 nodes a block and 3 more. */
const callsOf = (blocks: number, size: number) =>
  [chain("Neg", 4, size), chain("Abs", 2 * blocks + 3, size)].map((graph): PlannedCall => ({
    label: graph.name,
    key: `${graph.name} of ${graph.nodes.length}`,
    graph,
    feeds: new Map(),
    fetches: new Map(),
    sized: new Map(),
  }));
const kind = (blocks: number, size: number) => ({ blocks, calls: callsOf(blocks, size) });

Deno.test("sessionNodes() counts a session once that serves two sizes", () => {
  assertEquals(sessionNodes(kind(1, 8), kind(1, 8), [1]), 4 + 5);
  assertEquals(sessionNodes(kind(1, 8), kind(1, 16), [1]), 4 + 5);
});

Deno.test("sessionNodes() counts the sessions of each number of blocks, planned or not", () => {
  assertEquals(sessionNodes(kind(1, 8), kind(4, 32), [1, 4]), 4 + 5 + 11);
  assertEquals(sessionNodes(kind(1, 8), kind(4, 32), [1, 2, 3, 4]), 4 + 5 + 7 + 9 + 11);
});

Deno.test("shapeKind() tells sequences that are longer by a block apart, and one from several", () => {
  const attention = {
    ...node("GroupQueryAttention", ["q", "k", "v"], "y", {
      num_heads: int(6),
      kv_num_heads: int(2),
    }),
    domain: "com.microsoft",
  };
  const graph = { ...chain("Neg", 1, 8), nodes: [attention] };
  const of = (batch: number, length: number) =>
    shapeKind(graph, { batch, length, packedRows: 20, targetRows: 8, trainable: new Set() });
  assertEquals(of(2, 57), of(3, 80));
  assertEquals(of(2, 90).form, of(2, 57).form);
  assertEquals(of(2, 90).blocks - of(2, 57).blocks, 1);
  assertNotEquals(of(1, 57).form, of(2, 57).form);
});
