import { assert, assertEquals, assertThrows } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { type Graph, MICROSOFT, type Model } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { cutIntoSegments, isWeighted } from "../../src/plan/cut.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { selectTargetRows, TARGET_ROWS } from "../../src/plan/select_rows.ts";

const WIDTH = 32;

/** A residual network of `blocks` half blocks x + relu(x·W)·V over embedded tokens, and a head. */
function residual(blocks: number): { graph: Graph; trainable: Set<string> } {
  const b = new GraphBuilder(inferTraining);
  b.input("input_ids", "int64", [2, 3]);
  const weight = (name: string, rows: number, columns: number) =>
    b.variable(name, float32([rows, columns], new Float32Array(rows * columns).fill(0.1)));
  let x = b.op("Gather", [weight("embedding", 11, WIDTH), "input_ids"]);
  for (let i = 0; i < blocks; i++) {
    const hidden = b.op("Relu", [b.op("MatMul", [x, weight(`W${i}`, WIDTH, WIDTH)])]);
    x = b.op("Add", [x, b.op("MatMul", [hidden, weight(`V${i}`, WIDTH, WIDTH)])]);
  }
  const [logits] = b.emit({
    opType: "MatMul",
    domain: "",
    inputs: [x, weight("head", WIDTH, 11)],
    attributes: {},
    outputs: ["logits"],
  });
  return { graph: b.build("residual", [logits]), trainable: new Set(["V1", "V2"]) };
}

const modelOf = (graph: Graph): Model => ({
  irVersion: 10,
  opsets: { "": 21 },
  graph,
  metadata: {},
});

Deno.test("cutIntoSegments() cuts at the residual stream, one segment a half block", () => {
  const { graph } = residual(4);
  const { segments } = cutIntoSegments(graph);
  assertEquals(segments.length, 5);
  assertEquals(segments[0].input, undefined);
  for (let i = 1; i < segments.length; i++) assertEquals(segments[i].input, segments[i - 1].output);
  assertEquals(segments.at(-1)!.output, "logits");
});

Deno.test("planTraining() shares sessions among blocks that are alike", () => {
  const { graph, trainable } = residual(12);
  const plan = planTraining(modelOf(graph), {
    batch: 2,
    length: 3,
    targetRows: 4,
    trainable: new Set([...trainable, ...Array.from({ length: 12 }, (_, i) => `V${i}`)]),
  });
  const keys = new Set(plan.training.calls.map((call) => call.key));
  assertEquals(plan.training.calls.length, 25, "12 forward, 1 tail, 12 backward");
  assert(keys.size <= 5, `compiled ${keys.size} sessions`);
});

Deno.test("planTraining() differentiates nothing below the first trainable tensor", () => {
  const { graph } = residual(6);
  const plan = planTraining(modelOf(graph), {
    batch: 2,
    length: 3,
    targetRows: 4,
    trainable: new Set(["V4"]),
  });
  const backward = plan.training.calls.filter((call) => call.label.startsWith("backward"));
  assertEquals(backward.length, 2);
});

Deno.test("planTraining() frees every intermediate exactly once", () => {
  const { graph, trainable } = residual(4);
  const { training } = planTraining(modelOf(graph), {
    batch: 2,
    length: 3,
    targetRows: 4,
    trainable,
  });
  const made = training.calls.flatMap((call) => [...call.fetches.values()])
    .filter((name) => name !== "loss" && !name.startsWith("grad:"));
  assertEquals(training.release.flat().sort(), made.sort());
});

Deno.test("planTraining() names the outputs of a model without logits", () => {
  const { graph, trainable } = residual(2);
  assertThrows(
    () => planTraining(modelOf(graph), { batch: 2, length: 3, trainable, output: "scores" }),
    Error,
    'the model has no output "scores": its outputs are logits',
  );
});

Deno.test("planTraining() refuses when nothing trainable reaches the output", () => {
  const { graph } = residual(2);
  assertThrows(
    () => planTraining(modelOf(graph), { batch: 2, length: 3, trainable: new Set(["elsewhere"]) }),
    Error,
    "nothing trainable reaches",
  );
});

Deno.test("selectTargetRows() restricts the head alone to the target rows", () => {
  const { graph } = residual(2);
  const selected = selectTargetRows(graph, "logits")!;
  assert(selected.inputs.some(({ name }) => name === TARGET_ROWS));
  assertEquals(selected.nodes.length, graph.nodes.length + 2);
  const gather = selected.nodes.findIndex((node) => node.inputs.includes(TARGET_ROWS));
  assertEquals(selected.nodes[gather + 1].outputs, ["logits"]);
});

Deno.test("selectTargetRows() leaves a head alone whose input other nodes read", () => {
  const { graph } = residual(1);
  const hidden = graph.nodes.at(-1)!.inputs[0];
  const reader = { ...graph.nodes.at(-1)!, name: "other", outputs: ["other"] };
  const shared = {
    ...graph,
    nodes: [...graph.nodes, { ...reader, inputs: [hidden, "head"] }],
    outputs: [...graph.outputs, { name: "other" }],
  };
  assertEquals(selectTargetRows(shared, "logits"), undefined);
});

/** A residual network whose logits `opType` changes, with a constant beside them. */
function withLogitsThrough(
  opType: string,
  dims: readonly number[],
  attributes: Attributes = {},
): Graph {
  const { graph } = residual(1);
  const head = graph.nodes.at(-1)!;
  const size = dims.reduce((product, dim) => product * dim, 1);
  return {
    ...graph,
    nodes: [
      ...graph.nodes.slice(0, -1),
      { ...head, outputs: ["scores"] },
      {
        ...head,
        name: opType,
        opType,
        inputs: ["scores", "beside"],
        outputs: ["logits"],
        attributes,
      },
    ],
    initializers: new Map([...graph.initializers, [
      "beside",
      float32(dims, new Float32Array(size)),
    ]]),
  };
}

Deno.test("selectTargetRows() goes through operators that treat entries one by one", () => {
  for (const opType of ["Add", "Min", "Pow"]) {
    const selected = selectTargetRows(withLogitsThrough(opType, [1, 1, 11]), "logits")!;
    assert(selected.inputs.some(({ name }) => name === TARGET_ROWS), opType);
  }
});

Deno.test("selectTargetRows() leaves a head alone whose constant has an entry for each row", () => {
  assertEquals(selectTargetRows(withLogitsThrough("Add", [1, 3, 11]), "logits"), undefined);
});

Deno.test("selectTargetRows() leaves a head alone whose logits are normalised over the positions, too", () => {
  const normalized = (axis: number, dims: readonly number[]) =>
    selectTargetRows(
      withLogitsThrough("LayerNormalization", dims, { axis: int(axis) }),
      "logits",
    );
  assert(normalized(-1, [11]) !== undefined);
  assertEquals(normalized(1, [3, 11]), undefined);
});

/** Logits of matrices, hidden [6, WIDTH] times a head of a kind. */
function matrixHead(
  opType: string,
  domain: string,
  attributes: Attributes,
  bias?: readonly number[],
) {
  const b = new GraphBuilder(inferTraining);
  const zeros = (dims: readonly number[]) =>
    float32(dims, new Float32Array(dims.reduce((product, dim) => product * dim, 1)));
  b.input("ids", "int64", [6]);
  const table = b.variable("embedding", zeros([11, 6]));
  const hidden = b.op("Gather", [table, "ids"]);
  b.variable("head", zeros([6, 6]));
  if (bias !== undefined) b.initializer("bias", zeros(bias));
  b.emit({
    opType,
    domain,
    inputs: [hidden, "head", ...bias === undefined ? [] : ["bias"]],
    attributes,
    outputs: ["logits"],
  });
  return selectTargetRows(b.build("matrices", ["logits"]), "logits");
}

Deno.test("selectTargetRows() takes a product for a head where it has a row for each row of the hidden state", () => {
  assert(matrixHead("Gemm", "", { transB: int(1) }, [6]) !== undefined);
  assert(matrixHead("FusedMatMul", MICROSOFT, { transB: int(1) }) !== undefined);
  assertEquals(matrixHead("Gemm", "", { transA: int(1) }), undefined);
  assertEquals(matrixHead("Gemm", "", {}, [6, 1]), undefined);
});

Deno.test("isWeighted() counts every operator that multiplies by weights", () => {
  for (const opType of ["Conv", "ConvTranspose", "Gemm", "LSTM", "MatMul"]) {
    const node = {
      name: "n",
      opType,
      domain: "",
      inputs: ["x", "w"],
      outputs: ["y"],
      attributes: {},
    };
    assert(isWeighted(node, new Set(["w"])), opType);
    assert(!isWeighted(node, new Set()), opType);
  }
});
