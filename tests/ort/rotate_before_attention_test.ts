import { assert, assertEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import type { Attributes } from "../../src/graph/builder.ts";
import { rotateBeforeAttention } from "../../src/graph/passes/rotate_before_attention.ts";
import { float32, int32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import { MICROSOFT, type Model } from "../../src/graph/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { normal } from "../helpers/fused_check.ts";
import { difference } from "../helpers/logits.ts";

const [BATCH, SIZE, HEADS, KEY_HEADS] = [2, 32, 4, 2];
const OUTPUTS = ["y", "present_key", "present_value"];

interface Options {
  readonly packed?: boolean;
  /** Columns of a head that turn, halved. */
  readonly half?: number;
  readonly attributes?: Attributes;
  /** Tokens that are read; each row has as many of them as `lengths` says, its past included. */
  readonly tokens: number;
  readonly past: number;
  readonly lengths: readonly number[];
}

/** A model of one attention, and what to feed it. */
function attention(options: Options): { model: Model; feeds: ReadonlyMap<string, Tensor> } {
  const { packed = true, half = SIZE / 2, tokens, past, lengths } = options;
  const angles = Array.from({ length: 32 * half }, (_, i) => Math.floor(i / half) / (1 + i % half));
  const hidden = (heads: number, seed: number) => normal([BATCH, tokens, heads * SIZE], seed);
  const cache = (seed: number) => normal([BATCH, KEY_HEADS, past, SIZE], seed);
  const feeds = new Map([
    ["q", hidden(packed ? HEADS + 2 * KEY_HEADS : HEADS, 1)],
    ...(packed ? [] : [["k", hidden(KEY_HEADS, 2)], ["v", hidden(KEY_HEADS, 3)]] as const),
    ["past_key", cache(4)],
    ["past_value", cache(5)],
    ["ends", int32([BATCH], lengths.map((length) => length - 1))],
    ["total", int32([], [past + tokens])],
  ]);
  const model: Model = {
    irVersion: 9,
    opsets: { "": 20, [MICROSOFT]: 1 },
    metadata: {},
    graph: {
      name: "attention",
      inputs: [...feeds].map(([name, { dtype, dims }]) => ({ name, type: { dtype, shape: dims } })),
      outputs: OUTPUTS.map((name) => ({ name })),
      initializers: new Map([
        ["cos", float32([32, half], angles.map(Math.cos))],
        ["sin", float32([32, half], angles.map(Math.sin))],
      ]),
      valueInfo: new Map(),
      nodes: [{
        name: "attention",
        opType: "GroupQueryAttention",
        domain: MICROSOFT,
        inputs: [
          ...["q", packed ? "" : "k", packed ? "" : "v", "past_key", "past_value"],
          ...["ends", "total", "cos", "sin"],
        ],
        outputs: OUTPUTS,
        attributes: {
          num_heads: int(HEADS),
          kv_num_heads: int(KEY_HEADS),
          do_rotary: int(1),
          ...options.attributes,
        },
      }],
    },
  };
  return { model, feeds };
}

const PROMPT = { tokens: 6, past: 0, lengths: [6, 6] };
const CASES: Readonly<Record<string, Options>> = {
  "a prompt of packed q, k, v": PROMPT,
  "a prompt of separate q, k, v": { ...PROMPT, packed: false },
  "rows of different lengths": { ...PROMPT, lengths: [6, 3] },
  "interleaved pairs": { ...PROMPT, attributes: { rotary_interleaved: int(1) } },
  "a part of each head": { ...PROMPT, half: 8 },
  "a token after a past": { tokens: 1, past: 5, lengths: [6, 4] },
  "a token alone": { tokens: 1, past: 0, lengths: [1, 1] },
};

for (const [title, options] of Object.entries(CASES)) {
  Deno.test(`rotateBeforeAttention() computes what the fused operator does: ${title}`, async () => {
    const { model, feeds } = attention(options);
    const apart = rotateBeforeAttention(model);
    assert(apart.graph.nodes.every(({ attributes }) => attributes.do_rotary === undefined));
    using runner = createOrtRunner({ threads: 1 });
    const [expected, found] = await Promise.all([model, apart].map(async (form) => {
      using executable = await runner.compile(form);
      const given = Object.fromEntries([...feeds].map(([name, t]) => [name, runner.upload(t)]));
      const results = await executable.run(given, OUTPUTS);
      return OUTPUTS.map((name) => results[name].read());
    }));
    OUTPUTS.forEach((name, i) => {
      // Behind a row's end anything may stand.
      const ends = options.lengths.map((end) => name === "y" ? Math.min(end, options.tokens) : end);
      const { absolute } = difference(valid(found[i], ends), valid(expected[i], ends));
      assert(absolute <= 1e-5, `${name} off by ${absolute}`);
    });
  });
}

/** Numbers of an output, [batch, tokens, width] or [batch, heads, tokens, width], that belong to tokens. */
function valid(output: Tensor, ends: readonly number[]): number[] {
  const { dims } = output;
  const values = toNumbers(output);
  const [tokens, width] = dims.slice(-2);
  const perRow = values.length / dims[0];
  return Array.from(values).filter((_, i) =>
    Math.floor(i / width) % tokens < ends[Math.floor(i / perRow)]
  );
}

Deno.test("rotateBeforeAttention() leaves a model alone whose attention rotates nothing", () => {
  const model = readModel(modelDir("tiny-bert-torch-fp32"));
  assertEquals(rotateBeforeAttention(model), model);
});
