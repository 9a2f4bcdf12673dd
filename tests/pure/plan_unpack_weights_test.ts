import { assertEquals } from "@std/assert";
import { int, ints } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { dequantizeBlocks } from "../../src/ops/dequantize.ts";
import type { DequantForm } from "../../src/ops/dequant_form.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { unpackWeights } from "../../src/plan/unpack_weights.ts";

const [ROWS, COLUMNS, BLOCK] = [64, 96, 32];

/** x · Wᵀ for two weights of as many blocks each. */
function twoProducts(form: DequantForm, bits: 4 | 8) {
  const b = new GraphBuilder(inferTraining);
  const x = b.input("x", "float32", [5, COLUMNS]);
  const [first, second] = ["p", "q"].map((name) => {
    const bytes = ROWS * COLUMNS * bits / 8;
    const data = tensor("uint8", [ROWS, COLUMNS * bits / 8], new Uint8Array(bytes).fill(7));
    const scales = float32([ROWS, COLUMNS / BLOCK], new Float32Array(ROWS * COLUMNS / BLOCK));
    const weight = dequantizeBlocks(b, {
      data: b.initializer(name, data),
      scales: b.initializer(`${name}.scales`, scales),
      ...{ rows: ROWS, columns: COLUMNS, bits, blockSize: BLOCK },
    }, form);
    return b.op("MatMul", [x, b.op("Transpose", [weight], { perm: ints([1, 0]) })]);
  });
  return b.build("g", [b.op("Add", [first, second])]);
}

Deno.test("unpackWeights() leaves one DequantizeLinear a weight, and shares what takes them apart", () => {
  const { graph, preprocessing, preprocessed } = unpackWeights(
    twoProducts("arithmetic", 4),
    new Set(),
  );
  const operators = graph.nodes.map(({ opType }) => opType);
  assertEquals(operators.filter((operator) => operator === "DequantizeLinear").length, 2);
  assertEquals(operators.filter((operator) => /^Bit|Concat/.test(operator)), []);
  assertEquals(preprocessing.map(({ feeds }) => [...feeds.values()]), [["p"], ["q"]]);
  assertEquals(preprocessing[0].key, preprocessing[1].key);
  const read = graph.nodes.flatMap((node) =>
    node.opType === "DequantizeLinear" ? [node.inputs[0]] : []
  );
  assertEquals(new Set(read), preprocessed);
  for (const name of preprocessed) {
    const shape = [ROWS * COLUMNS / BLOCK, BLOCK];
    assertEquals(graph.valueInfo.get(name)?.type, { dtype: "uint8", shape });
  }
});

/** x · W, W [ROWS, COLUMNS] in 4-bit codes with a scale a block of its first axis. */
function packedProduct(dtype: "int4" | "uint4", zeroPoints: boolean) {
  const b = new GraphBuilder(inferTraining);
  const codes = (name: string, rows: number) =>
    b.initializer(
      name,
      tensor(dtype, [rows, COLUMNS], new Uint8Array(rows * COLUMNS / 2).fill(0x53)),
    );
  const scales = float32([ROWS / BLOCK, COLUMNS], new Float32Array(ROWS / BLOCK * COLUMNS));
  const inputs = [codes("q", ROWS), b.initializer("s", scales)];
  if (zeroPoints) inputs.push(codes("z", ROWS / BLOCK));
  const attributes = { axis: int(0), block_size: int(BLOCK) };
  const x = b.input("x", "float32", [5, ROWS]);
  return b.build("g", [b.op("MatMul", [x, b.op("DequantizeLinear", inputs, attributes)])]);
}

Deno.test("unpackWeights() widens codes of 4 bits, and their zero points, to the type of 8", () => {
  for (const [dtype, wide] of [["int4", "int8"], ["uint4", "uint8"]] as const) {
    const { graph, preprocessing } = unpackWeights(packedProduct(dtype, true), new Set());
    const [dequantize] = graph.nodes;
    assertEquals(dequantize.inputs, [`q.${wide}`, "s", `z.${wide}`]);
    assertEquals(graph.valueInfo.get(`q.${wide}`)?.type, { dtype: wide, shape: [ROWS, COLUMNS] });
    assertEquals(preprocessing.flatMap(({ feeds }) => [...feeds.values()]).sort(), ["q", "z"]);
  }
  const symmetric = unpackWeights(packedProduct("int4", false), new Set());
  assertEquals(symmetric.graph.nodes[0].inputs, ["q.int8", "s"]);
  for (const trained of ["q", "z"]) {
    const { preprocessing } = unpackWeights(packedProduct("int4", true), new Set([trained]));
    assertEquals(preprocessing, []);
  }
});

Deno.test("unpackWeights() leaves alone what is not packed, is trained or is excepted", () => {
  const packed = twoProducts("arithmetic", 4);
  const untouched = [
    unpackWeights(twoProducts("arithmetic", 8), new Set()),
    unpackWeights(twoProducts("gather_block", 4), new Set()),
    unpackWeights(packed, new Set(["p", "q"])),
    unpackWeights(packed, new Set(), new Set(packed.nodes)),
  ];
  assertEquals(untouched.map(({ preprocessing }) => preprocessing), [[], [], [], []]);
  assertEquals(unpackWeights(packed, new Set(["q"])).preprocessing.length, 1);
});
