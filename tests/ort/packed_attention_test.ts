import { assert, assertEquals } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { type Packing, packingOf, rowsOf } from "../../src/data/packing.ts";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, int64, type Tensor } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { attend } from "../../src/ops/contrib/attention_core.ts";
import type { AttentionInputs } from "../../src/ops/contrib/attention_form.ts";
import { emitAttend } from "../../src/ops/internal/attend.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { builderOver, callOf } from "../../src/plan/call.ts";
import { FIRST_ROWS, PACKED, SHARED } from "../../src/plan/names.ts";
import type { PrefixSums } from "../../src/plan/options.ts";
import { packTokens } from "../../src/plan/pack_tokens.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { distance, modelOf, normal, runOn } from "../helpers/fused_check.ts";

const LENGTHS = [100, 91, 130];
const LENGTH = 136;
const BATCH = LENGTHS.length;
/** Tokens that all sequences begin with. */
const COMMON = 40;
const [HEADS, KEY_HEADS, SIZE, VALUE_SIZE, WIDTH] = [4, 2, 8, 4, 12];

type Form = Pick<AttentionInputs, "causal" | "softcap"> & {
  readonly sink?: boolean;
  readonly padded?: boolean;
  readonly prefixSums?: PrefixSums;
  readonly common?: number;
};

const FORMS: Readonly<Record<string, Form>> = {
  "every token sees all": { padded: true },
  causal: { causal: {} },
  "a causal window, a bound of scores and a sink": {
    causal: { window: 20 },
    softcap: 3,
    sink: true,
  },
  "prefixes summed together": { causal: {}, prefixSums: "together" },
  "prefixes summed by sequence": { causal: {}, prefixSums: "by sequence" },
  "a common beginning": { causal: {}, prefixSums: "together", common: COMMON },
  "a common beginning and masks": {
    ...{ causal: {}, padded: true, sink: true, prefixSums: "by sequence", common: COMMON },
  },
};

const ids = (s: number, t: number) => t < COMMON ? t : 50 + (s * 131 + t * 17) % 150;
const isReal = (s: number, t: number) => t < LENGTHS[s];
const ofPositions = <T>(value: (s: number, t: number) => T): T[] =>
  LENGTHS.flatMap((_, s) => Array.from({ length: LENGTH }, (_, t) => value(s, t)));

const inputIds = int64([BATCH, LENGTH], ofPositions((s, t) => isReal(s, t) ? ids(s, t) : 0));
const batch = {
  inputIds,
  attentionMask: int64([BATCH, LENGTH], ofPositions((s, t) => Number(isReal(s, t)))),
  tokenCount: 0,
};

const WEIGHTS: Readonly<Record<string, Tensor>> = {
  embedding: normal([200, WIDTH], 1),
  query: normal([WIDTH, HEADS * SIZE], 2),
  key: normal([WIDTH, KEY_HEADS * SIZE], 3),
  value: normal([WIDTH, KEY_HEADS * VALUE_SIZE], 4),
  output: normal([HEADS * VALUE_SIZE, WIDTH], 5),
};
const TRAINED = ["query", "key", "value", "output"];

/** Token ids to attention's output and a product after it, added to what it was made of. */
function graphOf({ causal, softcap, sink, padded, common }: Form, keepsAttention: boolean): Graph {
  const b = new GraphBuilder(inferTraining);
  b.input("input_ids", "int64", [BATCH, LENGTH]);
  for (const [name, weight] of Object.entries(WEIGHTS)) b.variable(name, weight);
  const x = b.op("Tanh", [b.op("Gather", ["embedding", "input_ids"], { axis: int(0) })]);
  const heads = (weight: string, count: number, size: number) =>
    b.reshape(b.op("MatMul", [x, weight]), [BATCH, LENGTH, count, size]);
  const mask = float32(
    [BATCH, 1, 1, 1, LENGTH],
    ofPositions((s, t) => isReal(s, t) ? 0 : -1e9),
  );
  const attended = attend(b, {
    query: heads("query", HEADS, SIZE),
    key: heads("key", KEY_HEADS, SIZE),
    value: heads("value", KEY_HEADS, VALUE_SIZE),
    scale: 0.3,
    masks: padded ? [b.initializer("mask", mask)] : [],
    causal,
    softcap,
    ...(sink && { sink: b.initializer("sink", float32([HEADS], [0.5, -1, 2, 0])) }),
  }, { common, emit: keepsAttention ? emitAttend : undefined });
  const y = b.op("Add", [x, b.op("MatMul", [attended, "output"])]);
  return b.build("attention", [y]);
}

function feedsOf(
  { positions, rowOf, firstOf }: Packing,
  bySequence: boolean,
): Record<string, Tensor> {
  const names = firstOf === undefined ? PACKED : SHARED;
  const rows = bySequence ? { ...rowOf, dims: [BATCH, LENGTH] } : rowOf;
  return {
    [names.positions]: positions,
    [names.rows]: rows,
    ...(firstOf !== undefined && { [FIRST_ROWS]: firstOf }),
  };
}

/** The graph's output and the gradients of what is trained, of real tokens alone. */
async function computed(graph: Graph, feeds: Readonly<Record<string, Tensor>>) {
  using runner = createOrtRunner({ threads: 1 });
  const b = builderOver({ lowered: graph, fed: new Set(TRAINED) }, graph.nodes);
  const [{ name: y }] = graph.outputs;
  const seed = normal([BATCH, LENGTH, WIDTH], 7);
  const real = ofPositions(isReal).flatMap((is) => new Array(WIDTH).fill(Number(is)));
  const seeds = b.op("Mul", [
    b.initializer("seed", seed),
    b.initializer("real", float32(seed.dims, real)),
  ]);
  const gradients = pullback(b, graph.nodes, new Map([[y, seeds]]), new Set(TRAINED));
  const results = new Map([[y, "y"], ...TRAINED.map((w) => [gradients.get(w)!, w] as const)]);
  const call = callOf(b, "attention", results);
  using executable = await runner.compile(modelOf(call.graph));
  const all: Readonly<Record<string, Tensor>> = { ...WEIGHTS, ...feeds, input_ids: inputIds };
  const found = await runOn(
    runner,
    executable,
    Object.fromEntries([...call.feeds].map(([canonical, name]) => [canonical, all[name]])),
  );
  return {
    call,
    values: new Map([...call.fetches].map(([canonical, name]) => [name, found[canonical]])),
  };
}

const ofType = (graph: Graph, opType: string) =>
  graph.nodes.filter((node) => node.opType === opType);

for (const [title, form] of Object.entries(FORMS)) {
  Deno.test(`attendPacked() computes and differentiates attention as over all positions: ${title}`, async () => {
    const { prefixSums } = form;
    const shape = { batch: BATCH, length: LENGTH };
    const packing = packingOf(rowsOf(batch, { sharesPrefixes: prefixSums !== undefined }))!;
    const packed = packTokens(graphOf(form, true), shape, packing.rows, new Set(TRAINED), form);
    assertEquals(ofType(packed, "JoinRows").length, 1);
    const found = await computed(packed, feedsOf(packing, prefixSums === "by sequence"));
    assertEquals(
      ofType(found.call.graph, "Transpose").length,
      0,
      "heads are looked up, not transposed",
    );
    const { values } = await computed(graphOf({ ...form, common: 0 }, false), {});
    for (const [name, expected] of values) {
      const isPadding = (i: number) =>
        name === "y" && !isReal(Math.floor(i / WIDTH / LENGTH), Math.floor(i / WIDTH) % LENGTH);
      const off = distance(found.values.get(name)!, expected, isPadding);
      assert(off < 2e-6, `${name} is off by ${off}`);
    }
  });
}

Deno.test("packTokens() leaves attention whose keys are no packed rows to the positions", () => {
  const b = new GraphBuilder(inferTraining);
  b.input("input_ids", "int64", [BATCH, LENGTH]);
  b.input("memory", "float32", [BATCH, 5, KEY_HEADS, SIZE]);
  for (const name of ["embedding", "query"]) b.variable(name, WEIGHTS[name]);
  const x = b.op("Gather", ["embedding", "input_ids"], { axis: int(0) });
  const query = b.reshape(b.op("MatMul", [x, "query"]), [BATCH, LENGTH, HEADS, SIZE]);
  const y = emitAttend(b, { query, key: "memory", value: "memory", scale: 1, masks: [] });
  const packed = packTokens(
    b.build("across", [y]),
    { batch: BATCH, length: LENGTH },
    240,
    new Set(),
  );
  const [product] = ofType(packed, "FusedMatMul");
  const dims = packed.valueInfo.get(product.outputs[0])!.type!.shape;
  assertEquals(dims, [BATCH, KEY_HEADS, LENGTH * HEADS / KEY_HEADS, 5]);
});
