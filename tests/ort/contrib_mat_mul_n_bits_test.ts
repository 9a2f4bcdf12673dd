import { assertThrows } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, int32, type Tensor, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { DequantForm } from "../../src/ops/dequant_form.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import type { Release } from "../../src/runtime/release_limits.ts";
import { checkFused, constant, type FusedCase, lower, normal } from "../helpers/fused_check.ts";

const bytes = (dims: readonly number[], seed: number): Tensor => {
  const count = dims.reduce((a, d) => a * d, 1);
  let state = seed;
  const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16 & 255;
  return tensor("uint8", dims, Uint8Array.from({ length: count }, next));
};

interface Shape {
  readonly k: number;
  readonly n: number;
  readonly bits: 4 | 8;
  readonly blockSize: number;
  readonly zeroPoints?: "packed" | "float";
  readonly bias?: boolean;
  readonly accuracyLevel?: number;
}

function nBits({ k, n, bits, blockSize, zeroPoints, bias, accuracyLevel }: Shape): FusedCase {
  const blocks = Math.ceil(k / blockSize);
  const scales = Float32Array.from({ length: n * blocks }, (_, i) => 0.01 + 0.001 * (i % 7));
  const middle = 2 ** (bits - 1);
  return {
    opType: "MatMulNBits",
    attributes: {
      K: int(k),
      N: int(n),
      bits: int(bits),
      block_size: int(blockSize),
      ...(accuracyLevel === undefined ? {} : { accuracy_level: int(accuracyLevel) }),
    },
    inputs: [
      normal([2, 3, k]),
      constant(bytes([n, blocks, blockSize * bits / 8], 7)),
      constant(float32([n, blocks], scales)),
      zeroPoints === "packed"
        ? constant(bytes([n, Math.ceil(blocks * bits / 8)], 11))
        : zeroPoints === "float"
        ? constant(float32([n, blocks], Float32Array.from(scales, (_, i) => middle + i % 5 - 1.5)))
        : undefined,
      undefined,
      bias ? constant(normal([n], 3)) : undefined,
    ],
    wrt: [0],
  };
}

/** x · ((q - zeroPoint) · scale)ᵀ for 8 bits and float zero points, in doubles. */
function byHand({ inputs, attributes }: FusedCase): Tensor {
  const [x, q, scales, points] = inputs.flatMap((input) =>
    input === undefined ? [] : [toNumbers("constant" in input ? input.constant : input)]
  );
  const [k, n, block] = ["K", "N", "block_size"].map((name) => attributes![name].value as number);
  const rows = x.length / k;
  const out = new Float32Array(rows * n);
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let i = 0; i < k; i++) {
        const at = j * k / block + Math.floor(i / block);
        sum += x[row * k + i] * (q[j * k + i] - points[at]) * scales[at];
      }
      out[row * n + j] = sum;
    }
  }
  return float32([2, 3, n], out);
}

/** Each form, and the first release that has it where not all have. */
const FORMS: Readonly<Record<DequantForm, Release | undefined>> = {
  gather_block: [1, 23, 0],
  arithmetic: undefined,
};

for (const [form, since] of Object.entries(FORMS) as [DequantForm, Release | undefined][]) {
  for (const bits of [4, 8] as const) {
    for (const zeroPoints of [undefined, "packed", "float"] as const) {
      Deno.test(`MatMulNBits ${bits} bits, ${zeroPoints ?? "no"} zero points, as ${form}`, async () => {
        const test = nBits({ k: 96, n: 24, bits, blockSize: 32, zeroPoints });
        // ONNX Runtime 1.30 has no CPU kernel for 8 bits with float zero points.
        const expected = bits === 8 && zeroPoints === "float" ? [byHand(test)] : undefined;
        await checkFused({ ...test, form, since, expected });
      });
    }
  }

  for (const blockSize of [16, 64, 128, 256]) {
    Deno.test(`MatMulNBits with blocks of ${blockSize} that do not divide K, as ${form}`, async () => {
      const shape = { k: 144, n: 8, bits: 4, blockSize, zeroPoints: "packed", bias: true } as const;
      await checkFused({ ...nBits(shape), form, since });
    });
  }
}

Deno.test("MatMulNBits at accuracy_level 1 equals the lowered form", async () => {
  await checkFused(nBits({ k: 64, n: 16, bits: 4, blockSize: 32, accuracyLevel: 1 }));
});

Deno.test("MatMulNBits on no tokens gives none", async () => {
  const test = nBits({ k: 64, n: 16, bits: 4, blockSize: 32 });
  const inputs = [float32([2, 0, 64], []), ...test.inputs.slice(1)];
  await checkFused({ ...test, inputs, wrt: [], expected: [float32([2, 0, 16], [])] });
});

Deno.test("MatMulNBits accepts flat scales and zero points, as older exporters write them", async () => {
  const { inputs, ...rest } = nBits({ k: 64, n: 16, bits: 4, blockSize: 32, zeroPoints: "packed" });
  const flat = inputs.map((input, i) => {
    if ((i !== 2 && i !== 3) || input === undefined || !("constant" in input)) return input;
    const { dtype, dims, bytes } = input.constant;
    return constant(tensor(dtype, [dims[0] * dims[1]], bytes));
  });
  await checkFused({ ...rest, inputs: flat });
});

Deno.test("MatMulNBits keeps the file's bytes: the lowered weight is a view of them", () => {
  const test = nBits({ k: 64, n: 16, bits: 4, blockSize: 32 });
  for (const form of Object.keys(FORMS) as DequantForm[]) {
    const b = new GraphBuilder(inferTraining);
    const graph = b.build("g", lower(b, { ...test, form }));
    const original = (test.inputs[1] as { constant: Tensor }).constant.bytes;
    const views = [...graph.initializers.values()].filter((t) => t.bytes === original);
    if (views.length !== 1) throw new Error(`${views.length} initializers share the file's bytes`);
  }
});

Deno.test("MatMulNBits refuses group indices, other bit widths and prepacked weights by name", () => {
  const test = nBits({ k: 64, n: 16, bits: 4, blockSize: 32 });
  const refused = (change: Partial<FusedCase>, message: string) =>
    assertThrows(
      () => lower(new GraphBuilder(inferTraining), { ...test, ...change }),
      UnsupportedError,
      message,
    );
  const inputs = test.inputs.map((input, i) => i === 4 ? int32([64], new Int32Array(64)) : input);
  refused({ inputs }, 'node "under_test": graft does not implement input "g_idx"');
  refused(
    { attributes: { ...test.attributes, bits: int(2) } },
    'attribute "bits" = 2 of com.microsoft.MatMulNBits',
  );
  refused(
    { attributes: { ...test.attributes, weight_prepacked: int(1) } },
    '"weight_prepacked" = 1',
  );
  refused({ attributes: { ...test.attributes, shiny: int(1) } }, 'attribute "shiny" = 1');
});
