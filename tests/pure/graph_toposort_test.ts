import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { capturedBy, CycleError, toposort } from "../../src/graph/toposort.ts";
import type { Graph, Node } from "../../src/graph/types.ts";

const node = (name: string, inputs: string[], attributes: Node["attributes"] = {}): Node => ({
  name,
  opType: "Op",
  domain: "",
  inputs,
  outputs: [name],
  attributes,
});

const subgraph = (nodes: Node[], output: string): Graph => ({
  name: "branch",
  inputs: [{ name: "own" }],
  outputs: [{ name: output }],
  initializers: new Map(),
  nodes,
  valueInfo: new Map(),
});

Deno.test("toposort() returns a sorted list as it is", () => {
  const nodes = [node("a", ["x"]), node("b", ["a", ""])];
  assertStrictEquals(toposort(nodes), nodes);
});

Deno.test("toposort() moves nodes only behind what they wait for", () => {
  const nodes = [node("c", ["b"]), node("d", []), node("b", ["a"]), node("a", []), node("e", [])];
  assertEquals(toposort(nodes).map(({ name }) => name), ["a", "b", "c", "d", "e"]);
});

Deno.test("toposort() waits for what a subgraph reads from outside, however deep", () => {
  const inner = subgraph([node("n", ["a", "own"])], "n");
  const outer = subgraph([node("m", [], { body: { kind: "graph", value: inner } })], "b");
  const nodes = [
    node("c", [], { body: { kind: "graph", value: outer } }),
    node("a", []),
    node("b", []),
  ];
  assertEquals([...capturedBy(nodes[0])].sort(), ["a", "b"]);
  assertEquals(toposort(nodes).map(({ name }) => name), ["a", "b", "c"]);
});

Deno.test("toposort() names the nodes of a cycle in the direction of the data", () => {
  const nodes = [node("start", []), node("a", ["start", "c"]), node("b", ["a"]), node("c", ["b"])];
  assertThrows(() => toposort(nodes), CycleError, 'Op "a" → Op "b" → Op "c" → Op "a"');
});

Deno.test("toposort() sorts a chain of 100,000 nodes written backwards", () => {
  const nodes = Array.from({ length: 100_000 }, (_, i) => node(`n${i}`, [`n${i + 1}`]));
  assertEquals(toposort(nodes)[0].name, "n99999");
});

Deno.test("toposort() puts every shuffled graph into an order", () => {
  const graphs = fc.array(fc.array(fc.nat(), { maxLength: 4 }), { maxLength: 30 }).chain(
    (edges) => {
      const nodes = edges.map((from, i) =>
        node(`n${i}`, i === 0 ? [] : from.map((j) => `n${j % i}`))
      );
      return fc.shuffledSubarray(nodes, { minLength: nodes.length });
    },
  );
  fc.assert(fc.property(graphs, (nodes) => {
    const seen = new Set<string>();
    for (const { name, inputs } of toposort(nodes)) {
      assert(inputs.every((input) => seen.has(input)));
      seen.add(name);
    }
    assertEquals(seen.size, nodes.length);
  }));
});
