import { assertEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { quantizeConstants } from "../../src/graph/passes/quantize_constants.ts";
import { float32, type Tensor, tensor } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { halves } from "../helpers/lora_graphs.ts";
import { tinyModel } from "../helpers/ort.ts";
import { gaussians } from "../helpers/quant.ts";

const ROWS = 12;
const COLUMNS = 10;

/** Some scales, their dimensions, and where they run along. */
const PARAMETERS = {
  "one scale": { dims: [], axis: 1, block: 0 },
  "a scale a row": { dims: [ROWS], axis: 0, block: 0 },
  "a scale a column": { dims: [COLUMNS], axis: -1, block: 0 },
  "a scale for 4 rows": { dims: [ROWS / 4, COLUMNS], axis: 0, block: 4 },
  "a scale for 5 columns": { dims: [ROWS, COLUMNS / 5], axis: 1, block: 5 },
} as const;

/** Numbers with ties and with some that 8 bits cannot hold. */
function values(): Tensor {
  const random = gaussians(7);
  const numbers = Array.from(
    { length: ROWS * COLUMNS },
    (_, i) => i % 3 === 0 ? (Math.round(40 * random()) + 0.5) / 32 : 2 * random(),
  );
  return float32([ROWS, COLUMNS], numbers);
}

for (const [name, { dims, axis, block }] of Object.entries(PARAMETERS)) {
  for (const dtype of ["int8", "uint8"] as const) {
    for (const type of ["float32", "float16"] as const) {
      Deno.test(`quantizeConstants() rounds ${type} to ${dtype} with ${name} as ONNX Runtime does`, async () => {
        const count = dims.reduce((product: number, dim) => product * dim, 1);
        const scales = float32(dims, Array.from({ length: count }, (_, i) => 1 / (32 << (i % 3))));
        const zeros = Uint8Array.from({ length: count }, (_, i) => 100 + i);
        const as = type === "float16" ? halves : (t: Tensor) => t;
        const model = tinyModel({
          inputs: {},
          outputs: { y: [dtype, [ROWS, COLUMNS]] },
          nodes: [["QuantizeLinear", ["w", "s", "z"], ["y"], {
            axis: int(axis),
            ...(block === 0 ? {} : { block_size: int(block) }),
          }]],
          initializers: { w: as(values()), s: as(scales), z: tensor(dtype, dims, zeros) },
        });
        const graph = quantizeConstants(model.graph);
        assertEquals(graph.nodes, []);
        assertEquals(graph.initializers.get("y"), await computed(model));
      });
    }
  }
}

async function computed(model: Model): Promise<Tensor> {
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(model, { optimization: "disabled" });
  const { y } = await executable.run({});
  const { dtype, dims, bytes } = y.read();
  return { dtype, dims: [...dims], bytes: bytes.slice() };
}
