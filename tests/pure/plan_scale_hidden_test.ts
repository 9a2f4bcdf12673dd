import { assertEquals } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { scaleHidden } from "../../src/plan/scale_hidden.ts";

const [ROWS, K, VOCABULARY] = [2, 4, 8];

/** The operators, in order, of a head that ends with what `emit` makes of its product. */
function operators(
  emit: (b: GraphBuilder, product: string, factor: string) => string,
  { dims = [] as number[], trainable = [] as string[] } = {},
): string[] {
  const b = new GraphBuilder(inferTraining);
  const h = b.input("h", "float32", [ROWS, K]);
  const weight = b.variable("W", float32([K, VOCABULARY], new Float32Array(K * VOCABULARY)));
  const count = dims.reduce((a, c) => a * c, 1);
  const factor = b.variable("factor", float32(dims, new Float32Array(count).fill(3)));
  const graph = b.build("g", [emit(b, b.op("MatMul", [h, weight]), factor)]);
  const scaled = scaleHidden(graph, new Set(trainable));
  assertEquals(scaled.outputs, graph.outputs);
  return scaled.nodes.map(({ opType, inputs }) => `${opType} ${inputs}`);
}

Deno.test("scaleHidden() moves a factor or a divisor of the logits to the hidden state", () => {
  const before = (node: string) => [node, "MatMul h.scaled,W"];
  assertEquals(operators((b, x, c) => b.op("Div", [x, c])), before("Div h,factor"));
  assertEquals(operators((b, x, c) => b.op("Mul", [x, c])), before("Mul h,factor"));
  assertEquals(operators((b, x, c) => b.op("Mul", [c, x])), before("Mul factor,h"));
  assertEquals(operators((b, x, c) => b.op("Div", [x, c]), { dims: [1, 1] })[0], "Div h,factor");
});

Deno.test("scaleHidden() leaves alone what is no number, is trained or is read elsewhere", () => {
  const kept = (nodes: string[]) => assertEquals(nodes[0], "MatMul h,W");
  kept(operators((b, x, c) => b.op("Div", [c, x])));
  kept(operators((b, x, c) => b.op("Add", [x, c])));
  kept(operators((b, x, c) => b.op("Div", [x, c]), { dims: [VOCABULARY] }));
  kept(operators((b, x, c) => b.op("Div", [x, c]), { dims: [1, 1, 1] }));
  kept(operators((b, x, c) => b.op("Div", [x, c]), { trainable: ["factor"] }));
  kept(operators((b, x, c) => b.op("Mul", [b.op("Add", [x, b.op("Relu", [x])]), c])));
});
