import { assertEquals } from "@std/assert";
import { ints } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { type DequantForm, dequantizeBlocks, setDequantForm } from "../../src/ops/dequantize.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { unpackWeights } from "../../src/plan/unpack_weights.ts";

const [ROWS, COLUMNS, BLOCK] = [64, 96, 32];

/** x · Wᵀ for two weights of as many blocks each. */
function twoProducts(form: DequantForm, bits: 4 | 8) {
  const b = new GraphBuilder(inferTraining);
  setDequantForm(b, form);
  const x = b.input("x", "float32", [5, COLUMNS]);
  const [first, second] = ["p", "q"].map((name) => {
    const bytes = ROWS * COLUMNS * bits / 8;
    const data = tensor("uint8", [ROWS, COLUMNS * bits / 8], new Uint8Array(bytes).fill(7));
    const scales = float32([ROWS, COLUMNS / BLOCK], new Float32Array(ROWS * COLUMNS / BLOCK));
    const weight = dequantizeBlocks(b, {
      data: b.initializer(name, data),
      scales: b.initializer(`${name}.scales`, scales),
      ...{ rows: ROWS, columns: COLUMNS, bits, blockSize: BLOCK },
    });
    return b.op("MatMul", [x, b.op("Transpose", [weight], { perm: ints([1, 0]) })]);
  });
  return b.build("g", [b.op("Add", [first, second])]);
}

Deno.test("unpackWeights() leaves one DequantizeLinear a weight, and shares what takes them apart", () => {
  const { graph, derivations, derived } = unpackWeights(twoProducts("arithmetic", 4), new Set());
  const operators = graph.nodes.map(({ opType }) => opType);
  assertEquals(operators.filter((operator) => operator === "DequantizeLinear").length, 2);
  assertEquals(operators.filter((operator) => /^Bit|Concat/.test(operator)), []);
  assertEquals(derivations.map(({ feeds }) => [...feeds.values()]), [["p"], ["q"]]);
  assertEquals(derivations[0].key, derivations[1].key);
  const read = graph.nodes.flatMap((node) =>
    node.opType === "DequantizeLinear" ? [node.inputs[0]] : []
  );
  assertEquals(new Set(read), derived);
  for (const name of derived) {
    const shape = [ROWS * COLUMNS / BLOCK, BLOCK];
    assertEquals(graph.valueInfo.get(name)?.type, { dtype: "uint8", shape });
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
  assertEquals(untouched.map(({ derivations }) => derivations), [[], [], [], []]);
  assertEquals(unpackWeights(packed, new Set(["q"])).derivations.length, 1);
});
