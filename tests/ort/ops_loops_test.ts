/** Loop and Scan, unrolled: forward against ONNX Runtime's own, gradients against differences. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { int, ints, tensorValue } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { bool, float32, int64, type Tensor } from "../../src/graph/tensor.ts";
import type { Attribute, Graph, Model, ValueInfo } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { lowerForTraining } from "../../src/plan/lower.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { checkGradients, normal, runOn } from "../helpers/directional.ts";
import { assertTensor } from "../helpers/numbers.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";

const F = (name: string, ...shape: (number | string)[]): ValueInfo => ({
  name,
  type: { dtype: "float32", shape },
});
const I = (name: string, ...shape: number[]): ValueInfo => ({
  name,
  type: { dtype: "int64", shape },
});
const B = (name: string): ValueInfo => ({ name, type: { dtype: "bool", shape: [] } });

/** A subgraph as an attribute. */
function body(
  inputs: readonly ValueInfo[],
  nodes: readonly TinyNode[],
  outputs: readonly ValueInfo[],
  initializers: Readonly<Record<string, Tensor>> = {},
): { readonly kind: "graph"; readonly value: Graph } {
  const { graph } = tinyModel({ inputs: {}, outputs: {}, nodes, initializers });
  return { kind: "graph", value: { ...graph, name: "body", inputs, outputs } };
}

/** A model of inputs that are fed, its outputs float. */
function model(
  feeds: Readonly<Record<string, Tensor>>,
  outputs: readonly string[],
  nodes: readonly TinyNode[],
  initializers: Readonly<Record<string, Tensor>> = {},
  opset = 21,
): Model {
  const made = tinyModel({
    inputs: Object.fromEntries(
      Object.entries(feeds).map(([name, { dtype, dims }]) => [name, [dtype, dims]]),
    ),
    outputs: {},
    nodes,
    initializers,
  });
  return {
    ...made,
    opsets: { ...made.opsets, "": opset },
    graph: {
      ...made.graph,
      outputs: outputs.map((name) => ({ name, type: { dtype: "float32" } })),
    },
  };
}

function lowered(test: Model, feeds: Readonly<Record<string, Tensor>>): Graph {
  const bound = new Map(
    Object.entries(feeds).map(([name, { dtype, dims }]) => [name, { dtype, dims }] as const),
  );
  return lowerForTraining(test, bound, test.graph.outputs.map(({ name }) => name));
}

/** Compares both, and differentiates with respect to all that is fed. */
async function check(test: Model, feeds: Readonly<Record<string, Tensor>>): Promise<void> {
  using runner = createOrtRunner({ threads: 1 });
  const graph = lowered(test, feeds);
  const b = new GraphBuilder(inferTraining);
  for (const { name, type } of graph.inputs) {
    b.input(name, type!.dtype, type!.shape as readonly number[]);
  }
  for (const [name, value] of graph.initializers) b.initializer(name, value);
  for (const node of graph.nodes) b.add(node);
  using user = await runner.compile(test, { optimization: "disabled" });
  using trained = await runner.compile({ ...test, opsets: { "": 21, "com.microsoft": 1 }, graph });
  const expected = await runOn(runner, user, feeds);
  const found = await runOn(runner, trained, feeds);
  test.graph.outputs.forEach(({ name }, i) => {
    assertTensor(found[graph.outputs[i].name], expected[name], 2e-5, name);
    assertEquals(b.dims(graph.outputs[i].name), expected[name].dims, `${name}: shape`);
  });
  await checkGradients(runner, {
    b,
    outputs: graph.outputs.map(({ name }) => name),
    wrt: graph.inputs.map(({ name }) => name),
    feeds,
  });
}

const TRUE = bool([], [true]);
const X = { x: normal([2, 3], 1) };
const XW = { ...X, w: normal([3, 3], 2, 0.6) };

/** next = tanh(state · w), with w from outside; the state before it is put out, too. */
const RECURRENCE = body(
  [I("i"), B("going"), F("state", 2, 3)],
  [
    ["MatMul", ["state", "w"], ["product"]],
    ["Tanh", ["product"], ["next"]],
    ["Mul", ["next", "half"], ["out"]],
    ["Identity", ["going"], ["going_on"]],
  ],
  [B("going_on"), F("next", 2, 3), F("out", 2, 3)],
  { half: float32([], [0.5]) },
);

Deno.test("Loop runs as often as a constant says, and stacks its scan outputs", () =>
  check(
    model(
      XW,
      ["last", "all"],
      [["Loop", ["count", "yes", "x"], ["last", "all"], { body: RECURRENCE }]],
      { count: int64([], [3]), yes: TRUE },
    ),
    XW,
  ));

Deno.test("Loop runs as often as a dimension says; its number is of the rank that the body declares", () => {
  const each = body(
    [I("i", 1), B("going"), F("sum", 3)],
    [
      ["Gather", ["x", "i"], ["row"]],
      ["Squeeze", ["row", "first"], ["flat"]],
      ["Sin", ["flat"], ["sine"]],
      ["Add", ["sum", "sine"], ["next"]],
      ["Identity", ["yes"], ["going_on"]],
    ],
    [B("going_on"), F("next", 3), F("sine", 3)],
    { first: int64([1], [0]) },
  );
  return check(
    model(X, ["last", "all"], [
      ["Shape", ["x"], ["shape"]],
      ["Gather", ["shape", "zero"], ["count"]],
      ["ReduceMean", ["x", "axes"], ["begin"], { keepdims: int(0) }],
      ["Loop", ["count", "", "begin"], ["last", "all"], { body: each }],
    ], { zero: int64([], [0]), axes: int64([1], [0]), yes: TRUE }),
    X,
  );
});

Deno.test("Loop without a count runs until its condition, which its number decides, is false", () => {
  const until = body(
    [I("i"), B("going"), F("state", 2, 3)],
    [
      ["Constant", [], ["end"], { value: tensorValue(int64([], [2])) }],
      ["Less", ["i", "end"], ["going_on"]],
      ["Sin", ["state"], ["sine"]],
      ["Sigmoid", ["sine"], ["next"]],
    ],
    [B("going_on"), F("next", 2, 3)],
  );
  return check(
    model(X, ["last"], [["Loop", ["", "yes", "x"], ["last"], { body: until }]], { yes: TRUE }),
    X,
  );
});

Deno.test("Loop that does not run gives its initial values, and scan outputs without entries", async () => {
  const test = model(
    XW,
    ["last", "all"],
    [["Loop", ["count", "yes", "x"], ["last", "all"], { body: RECURRENCE }]],
    { count: int64([], [0]), yes: TRUE },
  );
  const graph = lowered(test, XW);
  assertEquals(graph.outputs.map(({ type }) => type?.shape), [[2, 3], [0, 2, 3]]);
  using runner = createOrtRunner({ threads: 1 });
  using user = await runner.compile(test, { optimization: "disabled" });
  const { last, all } = await runOn(runner, user, XW);
  assertEquals(last, XW.x);
  assertEquals(all.dims, [0, 2, 3]);
});

Deno.test("Loop's condition ends it before its count does; a value may grow", () => {
  const growing = body(
    [I("i"), B("going"), F("state", "rows", 3)],
    [
      ["Less", ["i", "one"], ["going_on"]],
      ["Sigmoid", ["state"], ["more"]],
      ["Concat", ["state", "more"], ["next"], { axis: int(0) }],
    ],
    [B("going_on"), F("next", "more_rows", 3)],
    { one: int64([], [1]) },
  );
  return check(
    model(X, ["last"], [["Loop", ["count", "", "x"], ["last"], { body: growing }]], {
      count: int64([], [10]),
    }),
    X,
  );
});

Deno.test("a Loop in a Loop, and an If in it that its number decides, keep their values apart", () => {
  const branch = (opType: string) => body([], [[opType, ["inner_state"], ["t"]]], [F("t", 2, 3)]);
  const inner = body(
    [I("i"), B("going"), F("inner_state", 2, 3)],
    [
      ["Equal", ["i", "outer_number"], ["is_diagonal"]],
      ["If", ["is_diagonal"], ["chosen"], {
        then_branch: branch("Sin"),
        else_branch: branch("Sigmoid"),
      }],
      ["Add", ["chosen", "scaled"], ["next"]],
      ["Identity", ["going"], ["going_on"]],
    ],
    [B("going_on"), F("next", 2, 3), F("chosen", 2, 3)],
  );
  const outer = body(
    [I("outer_number"), B("outer_going"), F("state", 2, 3)],
    [
      ["Mul", ["state", "half"], ["scaled"]],
      ["Loop", ["inner_count", "outer_going", "state"], ["ended", "rows"], { body: inner }],
      ["ReduceSum", ["rows", "first"], ["sum"], { keepdims: int(0) }],
      ["Identity", ["outer_going"], ["outer_going_on"]],
    ],
    [B("outer_going_on"), F("ended", 2, 3), F("sum", 2, 3)],
    { half: float32([], [0.5]), first: int64([1], [0]), inner_count: int64([], [3]) },
  );
  return check(
    model(X, ["last", "all"], [["Loop", ["count", "yes", "x"], ["last", "all"], { body: outer }]], {
      count: int64([], [2]),
      yes: TRUE,
    }),
    X,
  );
});

const refused = (test: Model, feeds: Readonly<Record<string, Tensor>>, reason: string) =>
  assertThrows(() => lowered(test, feeds), UnsupportedError, reason);

const loop = (
  inputs: readonly string[],
  bodyOf: Attribute,
  outputs = ["last", "all"],
): TinyNode => [
  "Loop",
  inputs,
  outputs,
  { body: bodyOf },
];

Deno.test("Loop is refused where data decides how often it runs, naming node and value", () => {
  const counted = { ...XW, count: int64([], [2]) };
  refused(
    model(counted, ["last"], [loop(["count", "yes", "x"], RECURRENCE)], { yes: TRUE }),
    counted,
    'Loop "node0": its trip count "count" is computed from data; export the model without it',
  );
  const flagged = { ...XW, go: TRUE };
  refused(
    model(flagged, ["last"], [loop(["count", "go", "x"], RECURRENCE)], { count: int64([], [2]) }),
    flagged,
    'Loop "node0": its condition "go" is computed from data',
  );
  const small = body(
    [I("i"), B("going"), F("state", 2, 3)],
    [
      ["ReduceSum", ["state"], ["sum"], { keepdims: int(0) }],
      ["Less", ["sum", "bound"], ["going_on"]],
      ["Exp", ["state"], ["next"]],
    ],
    [B("going_on"), F("next", 2, 3)],
    { bound: float32([], [1]) },
  );
  refused(
    model(X, ["last"], [loop(["count", "", "x"], small, ["last"])], { count: int64([], [2]) }),
    X,
    'its condition "node0/0/going_on" is computed from data',
  );
});

Deno.test("Loop is refused where it would be too many nodes, or has nothing to stack", () => {
  refused(
    model(XW, ["last"], [loop(["", "yes", "x"], RECURRENCE)], { yes: TRUE }),
    XW,
    'node "node0": unrolled, Loop is more than 65536 nodes; train on shorter sequences',
  );
  const empty = body(
    [I("i"), B("going"), F("state", 2, 3)],
    [],
    [B("going"), F("state", 2, 3)],
  );
  refused(
    model(X, ["last"], [loop(["count", "yes", "x"], empty, ["last"])], {
      count: int64([], [2n ** 60n]),
      yes: TRUE,
    }),
    X,
    "unrolled, Loop is more than 65536 nodes",
  );
  const { value } = RECURRENCE;
  const [going, next, out] = value.outputs;
  const undeclared = {
    ...RECURRENCE,
    value: { ...value, outputs: [going, next, { ...out, type: undefined }] },
  };
  refused(
    model(XW, ["all"], [loop(["count", "yes", "x"], undeclared)], {
      count: int64([], [0]),
      yes: TRUE,
    }),
    XW,
    'it runs no iteration, and the shape of its output "out" is not declared',
  );
});

Deno.test("Loop refuses a body that does not fit its inputs", async () => {
  const test = model(XW, ["last"], [loop(["count", "yes", "x", "w"], RECURRENCE)], {
    count: int64([], [1]),
    yes: TRUE,
  });
  await assertRejects(
    () => Promise.resolve().then(() => lowered(test, XW)),
    Error,
    "its body has 3 inputs and 3 outputs, which do not fit 2 loop-carried values",
  );
});

const SEQUENCE = { ...XW, s: normal([4, 2, 3], 3) };

/** next = tanh(state · w + element). */
const CELL = body(
  [F("state", 2, 3), F("element", 2, 3)],
  [
    ["MatMul", ["state", "w"], ["product"]],
    ["Add", ["product", "element"], ["sum"]],
    ["Tanh", ["sum"], ["next"]],
    ["Identity", ["next"], ["out"]],
  ],
  [F("next", 2, 3), F("out", 2, 3)],
);

Deno.test("Scan carries a state over a sequence and stacks its outputs", () =>
  check(
    model(SEQUENCE, ["last", "all"], [
      ["Scan", ["x", "s"], ["last", "all"], { body: CELL, num_scan_inputs: int(1) }],
    ]),
    SEQUENCE,
  ));

Deno.test("Scan goes over other axes, backwards, and prepends, as its attributes say", () => {
  const feeds = { a: normal([2, 4, 3], 4), c: normal([3, 2, 4], 5), x: normal([2, 3], 6) };
  const mixing = body(
    [F("state", 2, 3), F("first", 2, 3), F("second", 3, 2)],
    [
      ["Transpose", ["second"], ["turned"], { perm: ints([1, 0]) }],
      ["Mul", ["first", "turned"], ["product"]],
      ["Add", ["state", "product"], ["sum"]],
      ["Softsign", ["sum"], ["next"]],
      ["Sin", ["next"], ["sine"]],
    ],
    [F("next", 2, 3), F("sine", 2, 3), F("product", 2, 3)],
  );
  return check(
    model(feeds, ["last", "sines", "products"], [
      ["Scan", ["x", "a", "c"], ["last", "sines", "products"], {
        body: mixing,
        num_scan_inputs: int(2),
        scan_input_axes: ints([1, -1]),
        scan_input_directions: ints([0, 1]),
        scan_output_axes: ints([-1, 1]),
        scan_output_directions: ints([1, 0]),
      }],
    ]),
    feeds,
  );
});

Deno.test("Scan without a state maps a function over a sequence, one of one element, too", async () => {
  const each = body([F("element", 2, 3)], [["Sin", ["element"], ["sine"]]], [F("sine", 2, 3)]);
  for (const length of [1, 3]) {
    const feeds = { s: normal([length, 2, 3], 7) };
    const node: TinyNode = ["Scan", ["s"], ["all"], { body: each, num_scan_inputs: int(1) }];
    await check(model(feeds, ["all"], [node], {}, 11), feeds);
  }
});

Deno.test("Scan over a sequence without elements gives its initial state", () => {
  const feeds = { ...XW, s: normal([0, 2, 3], 3) };
  const test = model(feeds, ["last", "all"], [
    ["Scan", ["x", "s"], ["last", "all"], { body: CELL, num_scan_inputs: int(1) }],
  ]);
  assertEquals(lowered(test, feeds).outputs.map(({ name, type }) => [name, type?.shape]), [
    ["x", [2, 3]],
    ["all", [0, 2, 3]],
  ]);
});

Deno.test("Scan is refused as operator set 8 has it, and where its inputs do not fit", () => {
  const node: TinyNode = ["Scan", ["x", "s"], ["last"], { body: CELL, num_scan_inputs: int(1) }];
  refused(model(SEQUENCE, ["last"], [node], {}, 8), SEQUENCE, "before operator set 9");
  const scan = (inputs: string[], count: number) =>
    model(SEQUENCE, ["last"], [
      ["Scan", inputs, ["last", "all"], { body: CELL, num_scan_inputs: int(count) }],
    ]);
  assertThrows(() => lowered(scan(["x", "s"], 0), SEQUENCE), Error, "with 0 scanned inputs");
  const short: TinyNode = ["Scan", ["x", "s"], ["last", "all"], {
    body: CELL,
    num_scan_inputs: int(1),
    scan_output_directions: ints([]),
  }];
  assertThrows(
    () => lowered(model(SEQUENCE, ["all"], [short]), SEQUENCE),
    Error,
    'attribute "scan_output_directions" must have 1 entries: current value is []',
  );
  assertThrows(
    () => lowered(scan(["x", "s"], 2), SEQUENCE),
    Error,
    "scans inputs of different lengths: [2,4]",
  );
});
