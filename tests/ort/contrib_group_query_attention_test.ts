import { assertEquals, assertThrows } from "@std/assert";
import { float, int, string } from "../../src/graph/attributes.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import {
  elementCount,
  float32,
  int32,
  int64,
  type Tensor,
  toNumbers,
} from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { checkFused, constant, type FusedCase, lower, normal } from "../helpers/fused_check.ts";

const [BATCH, TOKENS, SIZE] = [2, 6, 16];

/** Cosines and sines of the first `rows` positions for `half` frequencies. */
function rotaryTables(rows: number, half: number): readonly [Tensor, Tensor] {
  const angles = Array.from(
    { length: rows * half },
    (_, i) => Math.floor(i / half) / 10 ** (2 * (i % half) / half),
  );
  return [Math.cos, Math.sin].map((f) => float32([rows, half], angles.map(f))) as [Tensor, Tensor];
}

interface Options {
  readonly tokens?: number;
  readonly size?: number;
  readonly heads?: number;
  readonly keyHeads?: number;
  readonly packed?: boolean;
  readonly rotary?: { readonly half: number; readonly positionIds?: Tensor };
  readonly bias?: readonly number[];
  readonly sink?: boolean;
  readonly lengths?: readonly number[];
  readonly attributes?: Attributes;
}

function gqa(options: Options): FusedCase {
  const { size = SIZE, heads = 4, keyHeads = 2, packed = true, rotary, bias, sink } = options;
  const tokens = options.tokens ?? TOKENS;
  const lengths = options.lengths ?? [tokens, tokens];
  const hidden = (count: number) => [BATCH, tokens, count * size];
  const [cos, sin] = rotary === undefined
    ? [undefined, undefined]
    : rotaryTables(Math.max(32, tokens), rotary.half).map(constant);
  const separate = packed ? [undefined, undefined] : [
    normal(hidden(keyHeads), 2),
    normal(hidden(keyHeads), 3),
  ];
  const past = float32([BATCH, keyHeads, 0, size], []);
  return {
    opType: "GroupQueryAttention",
    attributes: {
      num_heads: int(heads),
      kv_num_heads: int(keyHeads),
      ...(rotary === undefined ? {} : { do_rotary: int(1) }),
      ...options.attributes,
    },
    inputs: [
      normal(hidden(packed ? heads + 2 * keyHeads : heads), 1),
      ...separate,
      past,
      past,
      constant(int32([BATCH], lengths.map((n) => n - 1))),
      constant(int32([], [tokens])),
      cos,
      sin,
      rotary?.positionIds,
      bias === undefined ? undefined : normal(bias, 9),
      sink ? constant(normal([heads], 5)) : undefined,
    ],
    wrt: [0, ...(packed ? [] : [1, 2]), ...(bias === undefined ? [] : [10])],
    ignore: (_, index) => {
      const row = Math.floor(index / (heads * size));
      return row % tokens >= lengths[Math.floor(row / tokens)];
    },
  };
}

const TESTS: Readonly<Record<string, Options>> = {
  "packed q, k, v": {},
  "separate q, k, v": { packed: false },
  "as many key heads as query heads": { heads: 3, keyHeads: 3 },
  "one key head": { heads: 4, keyHeads: 1, packed: false },
  "one token": { tokens: 1, lengths: [1, 1], rotary: { half: SIZE / 2 } },
  "a scale": { attributes: { scale: float(0.2) } },
  "rotary": { rotary: { half: SIZE / 2 } },
  "rotary on separate q, k, v": { packed: false, rotary: { half: SIZE / 2 } },
  "interleaved rotary": {
    rotary: { half: SIZE / 2 },
    attributes: { rotary_interleaved: int(1) },
  },
  "partial rotary": { size: 32, rotary: { half: 8 } },
  "partial interleaved rotary": {
    size: 32,
    packed: false,
    rotary: { half: 8 },
    attributes: { rotary_interleaved: int(1) },
  },
  "softcap": { attributes: { softcap: float(1.5) } },
  "local window of 2": { attributes: { local_window_size: int(2) } },
  "local window of 3": { attributes: { local_window_size: int(3) } },
  "local window of 1": { attributes: { local_window_size: int(1) } },
  "attention bias": { bias: [BATCH, 4, TOKENS, TOKENS] },
  "attention bias shared by the batch": { bias: [1, 4, TOKENS, TOKENS] },
  "attention bias shared by heads": { bias: [BATCH, 1, TOKENS, TOKENS] },
  "attention bias after softcap": {
    bias: [1, 1, TOKENS, TOKENS],
    attributes: { softcap: float(2) },
  },
  "smooth softmax": { attributes: { smooth_softmax: int(1) } },
  "head sink": { sink: true },
  "head sink and softcap and window": {
    sink: true,
    attributes: { softcap: float(2), local_window_size: int(3) },
  },
  "right-padded rows": { lengths: [TOKENS, 3], rotary: { half: SIZE / 2 } },
  "a long sequence, in blocks": {
    tokens: 135,
    lengths: [135, 70],
    rotary: { half: SIZE / 2 },
  },
  "a long sequence with a local window, softcap and sink": {
    tokens: 200,
    sink: true,
    attributes: { local_window_size: int(20), softcap: float(2) },
  },
  "a long sequence with an attention bias": { tokens: 150, bias: [1, 4, 150, 150] },
  "position ids": {
    rotary: {
      half: SIZE / 2,
      positionIds: int64([BATCH, TOKENS], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]),
    },
  },
  "position ids that begin later": {
    rotary: {
      half: SIZE / 2,
      positionIds: int64([BATCH, TOKENS], [4, 5, 6, 7, 8, 9, 4, 5, 6, 7, 8, 9]),
    },
  },
};

for (const [what, options] of Object.entries(TESTS)) {
  Deno.test(`GroupQueryAttention: ${what}`, () => checkFused(gqa(options)));
}

/** Sequences of packed queries, keys and values that begin with the same tokens. */
function beginningAlike(test: FusedCase, common: number): FusedCase {
  const packed = test.inputs[0] as Tensor;
  const [, tokens, width] = packed.dims;
  const values = Float32Array.from(toNumbers(packed), Number);
  for (let s = 1; s < BATCH; s++) values.copyWithin(s * tokens * width, 0, common * width);
  return { ...test, common, inputs: [float32(packed.dims, values), ...test.inputs.slice(1)] };
}

for (
  const [what, common, options] of [
    ["beginnings", 2, { rotary: { half: SIZE / 2 } }],
    ["beginnings, window, softcap and sink", 4, {
      sink: true,
      attributes: { softcap: float(2), local_window_size: int(3) },
    }],
    ["long beginnings with a bias, in blocks", 130, { tokens: 260, bias: [1, 4, 260, 260] }],
    ["long beginnings with a window, in blocks", 140, {
      tokens: 150,
      attributes: { local_window_size: int(20) },
    }],
  ] as const satisfies readonly (readonly [string, number, Options])[]
) {
  Deno.test(`GroupQueryAttention: ${what} that sequences share`, () =>
    checkFused(beginningAlike(gqa(options), common)));
}

Deno.test("GroupQueryAttention: the present cache where something reads it", async () => {
  const test = gqa({ rotary: { half: SIZE / 2 } });
  await checkFused({ ...test, outputs: [0, 1, 2], ignore: undefined });
});

/** Root mean square normalisation of each head, times a weight. */
function normalized(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  const [xs, ws] = [x, weight].map(toNumbers);
  const out = Float32Array.from(xs, (value, i) => {
    const start = i - i % SIZE;
    const squares = Array.from({ length: SIZE }, (_, j) => xs[start + j] ** 2);
    const mean = squares.reduce((a, b) => a + b) / SIZE;
    return value / Math.sqrt(mean + epsilon) * ws[i % SIZE];
  });
  return float32(x.dims, out);
}

Deno.test("GroupQueryAttention: queries and keys normalised by head", async () => {
  const plain = gqa({ packed: false, rotary: { half: SIZE / 2 } });
  const padded = Array.from({ length: 14 }, (_, i) => plain.inputs[i]);
  const [q, k] = [normal([SIZE], 21), normal([SIZE], 22)];
  // The CPU provider has no kernel with these inputs: it gets heads that are normalised already.
  const kernelInputs = plain.inputs.map((input, i) =>
    i === 0
      ? normalized(input as Tensor, q, 1e-3)
      : i === 1
      ? normalized(input as Tensor, k, 1e-2)
      : input
  );
  await checkFused({
    ...plain,
    inputs: [...padded, constant(q), constant(k)],
    attributes: {
      ...plain.attributes,
      qk_norm_epsilon: float(1e-3),
      k_norm_epsilon: float(1e-2),
    },
    kernelAttributes: plain.attributes,
    kernelInputs,
  });
});

Deno.test("GroupQueryAttention: layers share one mask and one rotary table", () => {
  const test = gqa({ rotary: { half: SIZE / 2 } });
  const b = new GraphBuilder(inferTraining);
  const [first] = lower(b, test);
  const before = b.nodes.length;
  const small = [...b.build("g", [first]).initializers.values()].map((t) => elementCount(t.dims));
  assertEquals(small.filter((count) => count === TOKENS * TOKENS).length, 1, "one causal mask");
  assertEquals(small.filter((count) => count === 32 * SIZE / 2).length, 0, "only needed rows");
  assertEquals(b.nodes.length, before);
});

Deno.test("GroupQueryAttention refuses what graft does not compute, by name", () => {
  const refused = (change: (test: FusedCase) => Partial<FusedCase>, message: string) => {
    const test = gqa({ rotary: { half: SIZE / 2 } });
    const b = new GraphBuilder(inferTraining);
    assertThrows(() => lower(b, { ...test, ...change(test) }), UnsupportedError, message);
  };
  const attribute = (name: string, value: Attributes[string], message: string) =>
    refused(({ attributes }) => ({ attributes: { ...attributes, [name]: value } }), message);
  attribute("causal", int(0), 'attribute "causal" = 0 of com.microsoft.GroupQueryAttention');
  attribute("qk_output", int(1), 'attribute "qk_output" = 1');
  attribute("k_quant_type", string("PER_TENSOR"), 'attribute "k_quant_type" = PER_TENSOR');
  attribute("v_quant_type", string("PER_CHANNEL"), 'attribute "v_quant_type" = PER_CHANNEL');
  attribute("kv_cache_bit_width", int(8), 'attribute "kv_cache_bit_width" = 8');
  refused(
    ({ attributes }) => ({
      attributes: { ...attributes, sliding_window_cache: int(1), local_window_size: int(2) },
      outputs: [0, 1],
    }),
    'output "present_key"',
  );
  attribute("new_attribute", int(0), 'node "under_test": graft does not implement attribute');
  const input = (index: number, value: Tensor, message: string) =>
    refused(({ inputs }) => {
      const all = Array.from({ length: Math.max(inputs.length, index + 1) }, (_, i) => inputs[i]);
      all[index] = value;
      return { inputs: all };
    }, message);
  input(3, normal([BATCH, 2, 4, SIZE]), 'input "past_key" with 4 cached tokens');
  input(12, normal([1]), 'input "k_scale"');
  input(13, normal([1]), 'input "v_scale"');
  input(14, normal([SIZE]), 'input "q_norm_weight" or "k_norm_weight" without the other');
  input(16, int32([BATCH], [1, 1]), 'input "query_seqlens"');
});
