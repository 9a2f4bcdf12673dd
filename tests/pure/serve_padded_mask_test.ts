import { assertEquals } from "@std/assert";
import { float32 } from "../../src/graph/tensor.ts";
import type { Graph, Node } from "../../src/graph/types.ts";
import { longestPaddedMask } from "../../src/serve/padded_mask.ts";
import { COUNTING, plainNode } from "../helpers/genai_lengths.ts";

const ATTENTION = plainNode(
  "GroupQueryAttention",
  ["q", "k", "v", "past_k", "past_v", "lengths", "total", "cos", "sin"],
  ["y", "present_k", "present_v"],
);
function graph(nodes: readonly Node[], outputs: readonly string[] = ["y"]): Graph {
  const table = float32([40, 4], new Float32Array(160));
  return {
    name: "",
    inputs: [],
    outputs: outputs.map((name) => ({ name })),
    initializers: new Map([["cos", table], ["sin", table]]),
    nodes,
  } as unknown as Graph;
}

Deno.test("longestPaddedMask() is the table of rotations' length where attention alone counts the mask", () => {
  assertEquals(longestPaddedMask(graph([...COUNTING, ATTENTION])), 40);
});

Deno.test("longestPaddedMask() has no bound for attention without rotations", () => {
  const plain = { ...ATTENTION, inputs: ATTENTION.inputs.slice(0, 7) };
  assertEquals(longestPaddedMask(graph([...COUNTING, plain])), Infinity);
});

Deno.test("longestPaddedMask() is 0 where the table of rotations is not known", () => {
  const computed = { ...ATTENTION, inputs: ATTENTION.inputs.with(7, "computed") };
  assertEquals(longestPaddedMask(graph([...COUNTING, computed])), 0);
});

Deno.test("longestPaddedMask() is 0 where something else looks at the mask", () => {
  const cases: Record<string, Graph> = {
    "positions from the mask": graph([
      ...COUNTING,
      plainNode("CumSum", ["attention_mask", "axis"], ["positions"]),
      ATTENTION,
    ]),
    "the number of tokens as an output": graph([...COUNTING, ATTENTION], ["y", "sum"]),
    "the columns beside attention": graph([
      ...COUNTING,
      plainNode("Range", ["zero", "columns", "one"], ["range"]),
      plainNode("Add", ["range", "q"], ["bias"]),
      { ...ATTENTION, inputs: [...ATTENTION.inputs, "", "bias"] },
    ]),
    "the mask's columns for what is filled": graph([
      ...COUNTING,
      { ...ATTENTION, inputs: ATTENTION.inputs.with(5, "total") },
    ]),
    "no mask": graph([ATTENTION]),
  };
  for (const [what, given] of Object.entries(cases)) {
    assertEquals(longestPaddedMask(given), 0, what);
  }
});

Deno.test("longestPaddedMask() follows long chains, and values that are read twice again and again", () => {
  const [sum, ...others] = COUNTING;
  const chain = (length: number, opType: string, reads: number) => {
    const values = Array.from({ length }, (_, i) => `link${i}`);
    const inputs = (i: number) => new Array(reads).fill(values[i]);
    return [
      { ...sum, outputs: [values[0]] },
      ...values.map((_, i) => plainNode(opType, inputs(i), [values[i + 1] ?? sum.outputs[0]])),
    ];
  };
  for (const links of [chain(20_000, "Identity", 1), chain(60, "Add", 2)]) {
    assertEquals(longestPaddedMask(graph([...links, ...others, ATTENTION])), 40);
  }
});
