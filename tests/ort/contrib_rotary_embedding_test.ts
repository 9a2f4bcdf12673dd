import { assertThrows } from "@std/assert";
import { float, int } from "../../src/graph/attributes.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import { int64, type Tensor } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { checkFused, constant, type FusedCase, lower, normal } from "../helpers/fused_check.ts";

const POSITIONS = int64([2, 5], [3, 1, 4, 1, 5, 9, 2, 6, 5, 0]);

function rotary(x: Tensor, half: number, attributes: Attributes, positions = POSITIONS): FusedCase {
  const table = (seed: number) => constant(normal([12, half], seed));
  return {
    opType: "RotaryEmbedding",
    attributes,
    inputs: [x, constant(positions), table(1), table(2)],
    wrt: [0],
  };
}

const flat = (heads: number, size: number) => normal([2, 5, heads * size], 4);
const TESTS: Readonly<Record<string, FusedCase>> = {
  "[B, T, hidden]": rotary(flat(3, 8), 4, {}),
  "[B, T, hidden] with num_heads": rotary(flat(3, 8), 4, { num_heads: int(3) }),
  "[B, heads, T, size]": rotary(normal([2, 3, 5, 8], 4), 4, {}),
  "interleaved": rotary(flat(3, 8), 4, { interleaved: int(1) }),
  "partial": rotary(flat(3, 8), 2, { num_heads: int(3), rotary_embedding_dim: int(4) }),
  "partial and interleaved": rotary(flat(3, 8), 2, {
    num_heads: int(3),
    rotary_embedding_dim: int(4),
    interleaved: int(1),
  }),
  "positions counted from an offset": rotary(flat(3, 8), 4, {}, int64([1], [6])),
};

// The kernel itself stays in the training graph, so what can be wrong is its gradient.
for (const [what, test] of Object.entries(TESTS)) {
  Deno.test(`RotaryEmbedding: ${what}`, () => checkFused(test));
}

Deno.test("RotaryEmbedding with tables computed in the graph", async () => {
  const test = TESTS.interleaved;
  const inputs = test.inputs.map((input) =>
    input !== undefined && "constant" in input ? input.constant : input
  );
  await checkFused({ ...test, inputs });
});

Deno.test("RotaryEmbedding refuses packed batches and a scale by name", () => {
  const refused = (attributes: Attributes, message: string) =>
    assertThrows(
      () => lower(new GraphBuilder(inferTraining), rotary(flat(3, 8), 4, attributes)),
      UnsupportedError,
      message,
    );
  refused({ is_packed_batching: int(1) }, 'attribute "is_packed_batching" = 1');
  refused({ scale: float(2) }, 'attribute "scale" = 2 of com.microsoft.RotaryEmbedding');
});
