import { assertThrows } from "@std/assert";
import { float, int, ints } from "../../src/graph/attributes.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import { float32, int32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { checkFused, constant, type FusedCase, lower, normal } from "../helpers/fused_check.ts";

const [BATCH, TOKENS, INPUT, HEADS, SIZE] = [2, 5, 12, 2, 8];
const HIDDEN = HEADS * SIZE;

interface Options {
  readonly bias?: boolean;
  readonly mask?: Tensor;
  readonly attentionBias?: readonly number[];
  readonly attributes?: Attributes;
  readonly past?: Tensor;
  readonly width?: number;
}

function attention(options: Options): FusedCase {
  const width = options.width ?? 3 * HIDDEN;
  const { attentionBias } = options;
  return {
    opType: "Attention",
    attributes: { num_heads: int(HEADS), ...options.attributes },
    inputs: [
      normal([BATCH, TOKENS, INPUT], 1),
      constant(normal([INPUT, width], 2, 0.3)),
      options.bias ?? true ? constant(normal([width], 3)) : undefined,
      options.mask,
      options.past,
      attentionBias === undefined ? undefined : normal(attentionBias, 4),
    ],
    wrt: [0, ...(attentionBias === undefined ? [] : [5])],
  };
}

const MASKS: Readonly<Record<string, Tensor>> = {
  "lengths": int32([BATCH], [5, 3]),
  "ends and starts": int32([2 * BATCH], [5, 4, 0, 2]),
  "tokens": int32([BATCH, TOKENS], [1, 1, 1, 1, 1, 1, 0, 1, 1, 0]),
  "queries and keys": int32(
    [BATCH, TOKENS, TOKENS],
    Array.from({ length: BATCH * TOKENS * TOKENS }, (_, i) => i % TOKENS === 0 || i % 3 ? 1 : 0),
  ),
};

const unidirectional = { unidirectional: int(1) };
const TESTS: Readonly<Record<string, Options>> = {
  "no mask": {},
  "a scale": { attributes: { scale: float(0.2) } },
  "unidirectional": { attributes: unidirectional },
  "narrower values": {
    width: 2 * HIDDEN + 8,
    attributes: { qkv_hidden_sizes: ints([HIDDEN, HIDDEN, 8]) },
  },
  "attention bias": { attentionBias: [BATCH, HEADS, TOKENS, TOKENS] },
  "attention bias shared by batch and heads": { attentionBias: [1, 1, TOKENS, TOKENS] },
  "mask_filter_value": { mask: MASKS.tokens, attributes: { mask_filter_value: float(-1.5) } },
};

for (const [what, options] of Object.entries(TESTS)) {
  Deno.test(`Attention: ${what}`, () => checkFused(attention(options)));
}
Deno.test("Attention: no bias", async () => {
  const test = attention({ bias: false });
  // ONNX Runtime 1.30's kernel crashes without a bias (1.32's does not).
  const kernelInputs = [
    ...test.inputs.slice(0, 2),
    constant(float32([3 * HIDDEN], new Float32Array(48))),
  ];
  await checkFused({ ...test, kernelInputs });
});

for (const [what, mask] of Object.entries(MASKS)) {
  Deno.test(`Attention: mask of ${what}`, () => checkFused(attention({ mask })));
  Deno.test(`Attention: mask of ${what}, unidirectional`, async () => {
    // A query that sees nothing but masked keys has scores near -10000, which hold 3 decimals.
    const gradientTolerance = what === "ends and starts" ? 1e-2 : undefined;
    await checkFused({ ...attention({ mask, attributes: unidirectional }), gradientTolerance });
  });
}

Deno.test("Attention: a long sequence, unidirectional, with padding", async () => {
  const tokens = 140;
  const test = attention({ attributes: unidirectional });
  const shown = Array.from({ length: BATCH * tokens }, (_, i) => i < 2 * tokens - 30 ? 1 : 0);
  const inputs = [...test.inputs];
  inputs[0] = normal([BATCH, tokens, INPUT], 1);
  inputs[3] = int32([BATCH, tokens], shown);
  await checkFused({ ...test, inputs });
});

function refused(test: FusedCase, message: string): void {
  assertThrows(() => lower(new GraphBuilder(inferTraining), test), UnsupportedError, message);
}

Deno.test("Attention refuses what graft does not compute, by name", () => {
  const attribute = (attributes: Attributes, message: string) =>
    refused(attention({ attributes }), message);
  attribute({ do_rotary: int(1) }, 'attribute "do_rotary" = 1 of com.microsoft.Attention');
  attribute({ rotary_embedding_dim: int(32) }, 'attribute "rotary_embedding_dim" = 32');
  attribute({ past_present_share_buffer: int(1) }, 'attribute "past_present_share_buffer" = 1');
  attribute({ other: int(1) }, 'attribute "other" = 1');
  const past = (length: number) => normal([2, BATCH, HEADS, length, SIZE]);
  refused(attention({ past: past(2) }), 'input "past" with 2 cached tokens');
  const mask = int32([3 * BATCH + 2], [0, 0, 0, 0, 0, 0, 0, 0]);
  refused(attention({ mask }), 'input "mask_index" of shape [8]');
  refused(attention({ mask: int32([BATCH, 1, 5, 5], { length: 50 }) }), "shape [2,1,5,5]");
  refused({ ...attention({}), outputs: [0, 1] }, 'output "present"');
});

interface Multi {
  readonly query?: Tensor;
  readonly key?: Tensor;
  readonly value?: Tensor;
  readonly bias?: boolean;
  readonly mask?: Tensor;
  readonly attentionBias?: readonly number[];
  readonly attributes?: Attributes;
  readonly past?: readonly [Tensor, Tensor];
  readonly change?: Partial<FusedCase>;
}

const flat = (seed: number, length = TOKENS, hidden = HIDDEN) =>
  normal([BATCH, length, hidden], seed);

function multi(options: Multi): FusedCase {
  const { key, value, bias, mask, attentionBias, past } = options;
  const valueHidden = value === undefined || value.dims.length === 4 ? HIDDEN : value.dims[2];
  return {
    opType: "MultiHeadAttention",
    attributes: { num_heads: int(HEADS), ...options.attributes },
    inputs: [
      options.query ?? flat(1),
      key,
      value,
      bias ? constant(normal([2 * HIDDEN + valueHidden], 5)) : undefined,
      mask,
      attentionBias === undefined ? undefined : normal(attentionBias, 4),
      ...past ?? [],
    ],
    wrt: [
      0,
      ...(key === undefined ? [] : [1]),
      ...(value === undefined ? [] : [2]),
      ...(attentionBias === undefined ? [] : [5]),
    ],
    ...options.change,
  };
}

const [KEY, VALUE] = [flat(2), flat(3)];
const separate = { key: KEY, value: VALUE };
const cross = { key: flat(2, 7), value: flat(3, 7) };

/** [B, T, heads, parts, size] from parts of [B, T, heads · size]. */
function pack(...parts: readonly Tensor[]): Tensor {
  const out = new Float32Array(BATCH * TOKENS * HIDDEN * parts.length);
  parts.forEach((part, p) => {
    Array.from(toNumbers(part)).forEach((x, i) => {
      const head = Math.floor(i / SIZE);
      out[(head * parts.length + p) * SIZE + i % SIZE] = x;
    });
  });
  return float32([BATCH, TOKENS, HEADS, parts.length, SIZE], out);
}

const MULTI: Readonly<Record<string, Multi>> = {
  "separate": separate,
  "bias": { ...separate, bias: true },
  "cross attention": cross,
  "cross attention with bias": { ...cross, bias: true },
  "narrower values": { key: KEY, value: flat(3, TOKENS, 8), bias: true },
  "keys and values by head": {
    key: normal([BATCH, HEADS, 7, SIZE], 2),
    value: normal([BATCH, HEADS, 7, SIZE], 3),
  },
  "a scale": { ...separate, attributes: { scale: float(0.2) } },
  "unidirectional": { ...separate, attributes: unidirectional },
  "attention bias": { ...separate, attentionBias: [BATCH, HEADS, TOKENS, TOKENS] },
  "attention bias shared by the batch": { ...separate, attentionBias: [1, HEADS, TOKENS, TOKENS] },
  "mask of tokens": { ...separate, mask: MASKS.tokens },
  "mask of tokens, unidirectional": {
    ...separate,
    mask: MASKS.tokens,
    attributes: unidirectional,
  },
  "mask of tokens and attention bias": {
    ...separate,
    mask: MASKS.tokens,
    attentionBias: [1, 1, TOKENS, TOKENS],
  },
  "mask of queries and keys": { ...separate, mask: MASKS["queries and keys"] },
  "mask_filter_value": {
    ...separate,
    mask: MASKS.tokens,
    attributes: { mask_filter_value: float(-2) },
  },
  "the present cache where something reads it": {
    ...separate,
    bias: true,
    change: { outputs: [0, 1, 2] },
  },
};

for (const [what, options] of Object.entries(MULTI)) {
  Deno.test(`MultiHeadAttention: ${what}`, () => checkFused(multi(options)));
}

// The CPU provider has no kernel for packed inputs: it gets the same ones apart.
for (
  const [what, packed] of Object.entries(
    {
      "packed keys and values": { query: flat(1), key: pack(KEY, VALUE), bias: true },
      "packed queries, keys and values": { query: pack(flat(1), KEY, VALUE) },
    } satisfies Record<string, Multi>,
  )
) {
  Deno.test(`MultiHeadAttention: ${what}`, async () => {
    const bias = "bias" in packed;
    await checkFused({ ...multi(packed), kernelInputs: multi({ ...separate, bias }).inputs });
  });
}

Deno.test("MultiHeadAttention refuses what graft does not compute, by name", () => {
  const past = normal([BATCH, HEADS, 3, SIZE]);
  refused(multi({ ...separate, past: [past, past] }), 'input "past_key" with 3 cached tokens');
  refused(
    multi({ ...separate, mask: int32([3 * BATCH + 2], { length: 8 }) }),
    'input "key_padding_mask" of shape [8] of com.microsoft.MultiHeadAttention',
  );
  refused(multi({ ...separate, attributes: { other: int(1) } }), 'attribute "other" = 1');
  refused(multi({ ...separate, change: { outputs: [0, 3] } }), 'output "qk"');
  const inputs = [...multi(separate).inputs, undefined, undefined];
  refused(
    { ...multi(separate), inputs: [...inputs, int32([1], [0])] },
    'input "past_sequence_length"',
  );
});
