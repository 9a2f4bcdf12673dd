import { assertEquals } from "@std/assert";
import type { PlannedCall } from "../../src/plan/call.ts";
import { replacedBytes } from "../../src/plan/replaced_bytes.ts";
import { tinyModel } from "../helpers/ort.ts";

const file = new Uint8Array(100);
const TENSORS = {
  weight: file.subarray(0, 40),
  "head.0": file.subarray(40, 60),
  "head.1": file.subarray(60, 80),
  head: file.subarray(40, 80),
  scales: new Uint8Array(8),
};

const constants = new Map(
  Object.entries(TENSORS).map(([name, bytes]) => [
    name,
    { dtype: "uint8" as const, dims: [bytes.length], bytes },
  ]),
);

/** A call that reads these. */
function reading(...names: string[]): PlannedCall {
  const feeds = new Map(names.map((name, i) => [`x${i}`, name]));
  return {
    key: names.join(),
    label: "",
    graph: tinyModel({ inputs: {}, outputs: {}, nodes: [] }).graph,
    feeds,
    fetches: new Map(),
    sized: new Map(),
  };
}

const replaced = (preprocessing: PlannedCall[], calls: PlannedCall[]) =>
  replacedBytes({ preprocessing, training: { calls }, constants });

Deno.test("replacedBytes() counts what preprocessing alone read, once", () => {
  assertEquals(replaced([reading("weight", "scales"), reading("scales")], [reading("x")]), 48);
  assertEquals(replaced([reading("weight", "scales")], [reading("scales")]), 40);
});

Deno.test("replacedBytes() leaves out what the step reads under another name, whole or in part", () => {
  const made = [reading("weight"), reading("head.0"), reading("head.1")];
  assertEquals(replaced(made, [reading("head")]), 40);
  assertEquals(replaced(made, [reading("head.1")]), 60);
});
