import { assertEquals, assertThrows } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { type Codebook, CODEBOOKS } from "../../src/graph/codebook.ts";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { bnb4Attributes } from "../helpers/codebook_model.ts";
import {
  checkFused,
  type Constant,
  constant,
  type FusedCase,
  lower,
  normal,
} from "../helpers/fused_check.ts";

interface Shape {
  readonly k: number;
  readonly n: number;
  readonly codebook: Codebook;
  readonly blockSize: number;
}

/** Every byte there is, one after the other. */
function bnb4({ k, n, codebook, blockSize }: Shape): FusedCase {
  const bytes = Uint8Array.from({ length: n * k / 2 }, (_, i) => i);
  const absmax = Float32Array.from({ length: n * k / blockSize }, (_, i) => 0.1 + 0.01 * (i % 7));
  return {
    opType: "MatMulBnb4",
    attributes: bnb4Attributes(n, k, codebook, blockSize),
    inputs: [
      normal([2, 3, k]),
      constant(tensor("uint8", [bytes.length], bytes)),
      constant(float32([absmax.length], absmax)),
    ],
    wrt: [0],
  };
}

for (const codebook of Object.keys(CODEBOOKS) as Codebook[]) {
  for (const blockSize of [16, 64]) {
    Deno.test(`MatMulBnb4 of ${codebook} in blocks of ${blockSize}`, async () => {
      await checkFused(bnb4({ k: 64, n: 24, codebook, blockSize }));
    });
  }
}

Deno.test("MatMulBnb4 in blocks that do not end at rows", async () => {
  await checkFused(bnb4({ k: 24, n: 8, codebook: "nf4", blockSize: 16 }));
});

Deno.test("MatMulBnb4 keeps the file's bytes: the lowered weight is a view of them", () => {
  // Smaller ones are computed when the graph is built.
  const test = bnb4({ k: 128, n: 128, codebook: "nf4", blockSize: 64 });
  const b = new GraphBuilder(inferTraining);
  const { initializers } = b.build("g", lower(b, test));
  const original = (test.inputs[1] as Constant).constant.bytes;
  assertEquals([...initializers.values()].filter(({ bytes }) => bytes === original).length, 1);
});

Deno.test("MatMulBnb4 refuses weights the other way round, other types and broken blocks by name", () => {
  const test = bnb4({ k: 24, n: 6, codebook: "nf4", blockSize: 16 });
  const refused = (attributes: FusedCase["attributes"], message: string) =>
    assertThrows(
      () =>
        lower(new GraphBuilder(inferTraining), {
          ...test,
          attributes: { ...test.attributes, ...attributes },
        }),
      UnsupportedError,
      message,
    );
  refused({ transB: int(0) }, 'attribute "transB" = 0 of com.microsoft.MatMulBnb4');
  refused({ quant_type: int(2) }, 'attribute "quant_type" = 2 of com.microsoft.MatMulBnb4');
  refused({ block_size: int(32) }, "blocks of 32 that 6x24 weights do not fill");
});
