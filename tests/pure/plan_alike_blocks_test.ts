import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { node } from "../../src/graph/node.ts";
import { Parameter, weightOf } from "../../src/graph/parameter.ts";
import { reshaped } from "../../src/graph/reshaped.ts";
import { float32, type Tensor } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { graphProblem } from "../../src/graph/verify.ts";
import { foldedBlocks, UnlikeBlocksError } from "../../src/plan/alike_blocks.ts";
import { GRAPH_PASSES } from "../../src/plan/graph_passes.ts";
import type { PassResult } from "../../src/plan/planning_pass.ts";
import { blocksLeftOut } from "../helpers/blocks_left_out.ts";

const WIDTH = 32;
const BLOCKS = 7;
const SHAPE = { batch: 2, length: 8 };

const matrix = (rows: number, columns: number, value: number) =>
  float32([rows, columns], new Float32Array(rows * columns).fill(value));

/** Blocks x + (relu(x·W)·factor)·V over embedded tokens, and a head. */
function blocks(factorOf: (block: number) => Tensor = () => float32([], [0.5])): Model {
  const initializers = new Map<string, Tensor>([
    ["embedding", matrix(11, WIDTH, 0.1)],
    ["head", matrix(WIDTH, 11, 0.1)],
  ]);
  const nodes = [node("Gather", ["embedding", "input_ids"], "x0")];
  for (let i = 0; i < BLOCKS; i++) {
    initializers.set(`W${i}`, matrix(WIDTH, WIDTH, i));
    initializers.set(`V${i}`, matrix(WIDTH, WIDTH, -i));
    initializers.set(`factor${i}`, factorOf(i));
    nodes.push(
      node("MatMul", [`x${i}`, `W${i}`], `inner${i}`),
      node("Relu", [`inner${i}`], `hidden${i}`),
      node("Mul", [`hidden${i}`, `factor${i}`], `scaled${i}`),
      node("MatMul", [`scaled${i}`, `V${i}`], `out${i}`),
      node("Add", [`x${i}`, `out${i}`], `x${i + 1}`),
    );
  }
  nodes.push(node("MatMul", [`x${BLOCKS}`, "head"], "logits"));
  const graph: Graph = {
    name: "blocks",
    inputs: [{ name: "input_ids", type: { dtype: "int64", shape: ["batch", "length"] } }],
    outputs: [{ name: "logits", type: { dtype: "float32", shape: ["batch", "length", 11] } }],
    initializers,
    nodes,
    valueInfo: new Map(),
  };
  return { irVersion: 10, opsets: { "": 21 }, graph, metadata: {} };
}

/** The same model after some of its nodes were changed. */
function edited(model: Model, edit: (node: Node) => Node): Model {
  return { ...model, graph: { ...model.graph, nodes: model.graph.nodes.map(edit) } };
}

const all = (name: string) => new Set(Array.from({ length: BLOCKS }, (_, i) => `${name}${i}`));

Deno.test("planTraining() of alike blocks looks at three and plans all", () => {
  for (const trainable of [all("V"), all("W"), new Set([...all("V"), ...all("W")])]) {
    for (const keepBytes of [0, 5000, 1e9]) {
      for (const numeric of ["exact", "fast"] as const) {
        assertEquals(
          blocksLeftOut(blocks(), { ...SHAPE, trainable, keepBytes, numeric }),
          BLOCKS - 3,
        );
      }
    }
  }
});

Deno.test("planTraining() leaves out blocks below the first that trains", () => {
  const trainable = new Set(["head"]);
  assertEquals(blocksLeftOut(blocks(), { ...SHAPE, trainable }), BLOCKS - 3);
});

Deno.test("planTraining() looks at every block where one alone trains", () => {
  for (const trained of ["V0", "V3", "V6"]) {
    blocksLeftOut(blocks(), { ...SHAPE, trainable: new Set([trained]) });
  }
  assertEquals(blocksLeftOut(blocks(), { ...SHAPE, trainable: new Set(["V3"]) }), 0);
});

Deno.test("planTraining() looks at every block where constants in graphs differ", () => {
  const model = blocks((block) => float32([], [block === 4 ? 0.25 : 0.5]));
  assertEquals(blocksLeftOut(model, { ...SHAPE, trainable: all("V") }), 0);
});

Deno.test("planTraining() looks at every block where what folding reads differs", () => {
  // A factor of one melts away.
  const model = edited(
    blocks((block) => float32([1], [block === 4 ? 3 : 2])),
    (node) => node.opType === "Mul" ? { ...node, opType: "Pow" } : node,
  );
  assertEquals(blocksLeftOut(model, { ...SHAPE, trainable: all("V") }), 0);
});

Deno.test("planTraining() gives the copies of a block their own vectors", () => {
  const model = blocks((block) => float32([WIDTH], new Float32Array(WIDTH).fill(block)));
  assertEquals(blocksLeftOut(model, { ...SHAPE, trainable: all("V") }), BLOCKS - 3);
});

Deno.test("planTraining() looks at every block where two share a weight", () => {
  const model = edited(blocks(), (node) => ({
    ...node,
    inputs: node.inputs.map((input) => input === "W4" ? "W2" : input),
  }));
  assertEquals(blocksLeftOut(model, { ...SHAPE, trainable: all("V") }), 0);
});

Deno.test("planTraining() looks at every block where one reads what another has made inside", () => {
  const model = edited(
    blocks(),
    (node) => node.name === "scaled4" ? { ...node, inputs: ["hidden2", "factor4"] } : node,
  );
  assertEquals(blocksLeftOut(model, { ...SHAPE, trainable: all("V") }), 0);
});

Deno.test("planTraining() looks at every block where a pass reads a weight that differs", () => {
  const folds = GRAPH_PASSES.findIndex(({ name }) => name === "fold-blocks");
  for (const { name } of GRAPH_PASSES.slice(folds)) {
    const leftOutWhereReading = (read: RegExp) => {
      const onPass = ({ pass, graph }: PassResult) => {
        if (pass !== name) return;
        for (const [weight, value] of graph.initializers) if (read.test(weight)) value.bytes.at(0);
      };
      return blocksLeftOut(blocks(), { ...SHAPE, trainable: all("V"), passControl: { onPass } });
    };
    assertEquals(leftOutWhereReading(/^W/), 0, name);
    assertEquals(leftOutWhereReading(/^factor/), BLOCKS - 3, name);
  }
});

/** The second block's weights in the model's folded graph. */
function parametersOf({ graph }: Model) {
  const folded = foldedBlocks(graph, all("V"))!;
  const parameters = [...folded.graph.initializers.values()].filter((v) => v instanceof Parameter);
  assertEquals(parameters.length, 3);
  const named = (kind: string) => parameters.find(({ name }) => name.startsWith(kind))!;
  return { folded, named };
}

Deno.test("reshaped() of a weight that differs from block to block is such a weight", () => {
  const model = blocks();
  const { folded, named } = parametersOf(model);
  const parameter = named("W");
  const view = reshaped(reshaped(parameter, [WIDTH * WIDTH]), [WIDTH / 2, 2 * WIDTH]);
  assertEquals(view.dims, [WIDTH / 2, 2 * WIDTH]);
  for (const value of [parameter, view]) {
    assertThrows(() => value.bytes, UnlikeBlocksError);
    assertThrows(() => ({ ...value }), UnlikeBlocksError);
  }
  const withView = new Map([...folded.graph.initializers, ["view", view]]);
  assertEquals(graphProblem({ ...folded.graph, initializers: withView }), undefined);
  const own = (name: string) => model.graph.initializers.get(name)!;
  assertStrictEquals(weightOf(parameter), own(parameter.name));
  assertStrictEquals(weightOf(view).bytes, own(parameter.name).bytes);
  assertStrictEquals(
    folded.tensorIn(4, "W", parameter),
    own(folded.counterpart(parameter.name, 4)),
  );
  const there = folded.tensorIn(4, "view", view)!;
  assertEquals(there.dims, view.dims);
  assertStrictEquals(there.bytes, own(folded.counterpart(parameter.name, 4)).bytes);
  assertEquals(named("factor").bytes, float32([], [0.5]).bytes);
});

Deno.test("foldedBlocks() reads no weights, and of those that are asked for no more than it takes", () => {
  const reads: string[] = [];
  const model = blocks();
  const counted = new Map(
    [...model.graph.initializers].map(([name, { dtype, dims, bytes }]) => [name, {
      dtype,
      dims,
      get bytes() {
        reads.push(name);
        return bytes;
      },
    }]),
  );
  const { named } = parametersOf({ ...model, graph: { ...model.graph, initializers: counted } });
  assertEquals(reads, []);
  assertThrows(() => named("W").bytes, UnlikeBlocksError);
  assert(new Set(reads).size <= 2, `read were ${reads}`);
  reads.length = 0;
  assertThrows(() => named("W").bytes, UnlikeBlocksError);
  assertEquals(reads, []);
});
