import { assert, assertEquals } from "@std/assert";
import { equals } from "@std/bytes/equals";
import { pullback } from "../../src/autodiff/pullback.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import type { Tensor } from "../../src/graph/tensor.ts";
import type { Node } from "../../src/graph/types.ts";
import { attend } from "../../src/ops/contrib/attention_core.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { withBlocksInTurn } from "../../src/plan/blocks_in_turn.ts";
import { canonicalCall, type PlannedCall } from "../../src/plan/call.ts";
import { graphAt, knownValues } from "../../src/plan/call_graph.ts";
import { runtimeOrder } from "../../src/plan/call_memory.ts";
import type { Piece } from "../../src/plan/piece.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { withArithmetic } from "../helpers/arithmetic.ts";
import { callBytes } from "../helpers/call_bytes.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { modelOf, normal, runOn } from "../helpers/fused_check.ts";
import { adapted } from "../helpers/training_step.ts";

const [TOKENS, HEADS, SIZE, VALUE_SIZE] = [768, 4, 8, 12];
const SHAPES = {
  query: [1, TOKENS, HEADS, SIZE],
  key: [1, TOKENS, HEADS / 2, SIZE],
  value: [1, TOKENS, HEADS / 2, VALUE_SIZE],
  cotangent: [1, TOKENS, HEADS * VALUE_SIZE],
};

const INPUTS: Readonly<Record<string, Tensor>> = Object.fromEntries(
  Object.entries(SHAPES).map(([name, dims], i) => [name, normal(dims, i)]),
);

/** Causal attention in eight blocks and its cotangents, as a call before and after a pass. */
function attentionCall(pass: (piece: Piece) => Piece): PlannedCall {
  const b = new GraphBuilder(inferTraining);
  for (const [name, dims] of Object.entries(SHAPES)) b.input(name, "float32", dims);
  const { query, key, value } = { query: "query", key: "key", value: "value" };
  const y = attend(b, { query, key, value, scale: 0.3, masks: [], causal: {} }, {});
  const found = pullback(b, b.nodes, new Map([[y, "cotangent"]]), new Set([query, key, value]));
  const outputs = new Map([[y, "y"], ...[...found].map(([of, ct]) => [ct, of] as const)]);
  const built = b.build("attention", [...outputs.keys()]);
  const { nodes, constants } = pass({
    nodes: built.nodes,
    constants: built.initializers,
    dims: (name) => b.dims(name),
  });
  const inputs = new Set(Object.keys(SHAPES));
  const known = (name: string) => b.known(name);
  return canonicalCall(nodes, { inputs, constants, known }, outputs, "attention");
}

const ofType = (nodes: readonly Node[], opType: string) =>
  nodes.filter((node) => node.opType === opType).length;

Deno.test("withBlocksInTurn() computes the same bits in little more than a third of the memory", async () => {
  const before = attentionCall((piece) => piece);
  const after = attentionCall((piece) => withBlocksInTurn(piece, 0));
  assertEquals(ofType(before.graph.nodes, "Softmax"), 8);
  using runner = createOrtRunner({ threads: 1 });
  const run = async ({ graph, feeds, fetches }: PlannedCall) => {
    using executable = await runner.compile(modelOf(graph));
    const values = [...feeds].map(([canonical, name]) => [canonical, INPUTS[name]] as const);
    const found = await runOn(runner, executable, Object.fromEntries(values));
    return new Map([...fetches].map(([canonical, name]) => [name, found[canonical]]));
  };
  const [found, expected] = [await run(after), await run(before)];
  for (const [name, { bytes }] of expected) assert(equals(found.get(name)!.bytes, bytes), name);
  const share = callBytes(after.graph).peak / callBytes(before.graph).peak;
  assert(share < 0.38, `${share} of the memory`);
});

Deno.test("withBlocksInTurn() adds up what a block gives keys and values before the next begins", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const { training } = planTraining(
    model,
    withArithmetic({
      ...{ batch: 1, length: 240, packedRows: 240, targetRows: 240, trainable },
      ...{ passes: ["training"] as const, span: { from: 0, continues: false }, flushed: true },
    }),
  );
  const isSum = ({ opType }: Node) => opType === "ScatterND";
  const graph = graphAt(
    training.calls.find(({ graph }) => graph.nodes.some(isSum))!,
    training.sizes,
  );
  const b = knownValues(graph);
  const { nodes } = withBlocksInTurn({
    nodes: graph.nodes,
    constants: graph.initializers,
    dims: (name) => b.dims(name),
  }, 0);
  const order = runtimeOrder({ ...graph, nodes });
  const blocks = ofType(order, "Softmax");
  assert(blocks > 2);
  const last = order.findLastIndex(({ opType }) => opType === "Softmax");
  assertEquals(order.filter(isSum).length, 2 * blocks);
  assertEquals(order.slice(last).filter(isSum).length, 2, "those of the last block alone");
});

Deno.test("withBlocksInTurn() leaves a call as it is whose scores take little", () => {
  assertEquals(attentionCall(withBlocksInTurn), attentionCall((piece) => piece));
});
