/** What a standard operator's rule implements in part is refused by name, never ignored. */
import { assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { int, ints, string, strings } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, int64 } from "../../src/graph/tensor.ts";
import type { Node } from "../../src/graph/types.ts";
import { allRules, inferTraining, ruleOf } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";

function node(opType: string, inputs: readonly string[], rest: Partial<Node> = {}): Node {
  return { name: "n", opType, domain: "", inputs, outputs: ["y"], attributes: {}, ...rest };
}

/** Lowers a node whose outputs are all needed. */
function lower(b: GraphBuilder, test: Node, opset = 21): void {
  const needed = test.outputs.map(() => true);
  if (ruleOf(test).lower?.(b, test, { opset, needed }) === undefined) b.add(test);
}

const PARTIAL: readonly [string, Node, number?][] = [
  [
    "its output inv_std_var is used",
    node("SimplifiedLayerNormalization", ["x", "channels"], { outputs: ["y", "r"] }),
  ],
  [
    "its outputs Mean and InvStdDev are used",
    node("LayerNormalization", ["x", "channels"], { outputs: ["y", "m", "r"] }),
  ],
  ["its output mask is used", node("Dropout", ["x"], { outputs: ["y", "mask"] })],
  [
    'input "training_mode" must be the constant false',
    node("Dropout", ["x", "ratio", "training"], {}),
  ],
  [
    "one scale a group",
    node("GroupNormalization", ["image", "groups", "groups"], {
      attributes: { num_groups: int(2) },
    }),
    18,
  ],
  [
    '"training_mode" must be 0',
    node("BatchNormalization", ["image", "channels", "channels", "channels", "channels"], {
      attributes: { training_mode: int(1) },
    }),
  ],
  ['mode "constant"', node("Pad", ["x", "pads"], { attributes: { mode: string("reflect") } })],
  [
    'attribute "mode" is "lanczos"',
    node("Resize", ["image", "", "scales"], { attributes: { mode: string("lanczos") } }),
  ],
  [
    'attribute "nearest_mode" is "odd"',
    node("Resize", ["image", "", "scales"], { attributes: { nearest_mode: string("odd") } }),
  ],
  [
    'attribute "coordinate_transformation_mode" is "odd"',
    node("Resize", ["image", "", "scales"], {
      attributes: { coordinate_transformation_mode: string("odd") },
    }),
  ],
  [
    'attribute "keep_aspect_ratio_policy" is "odd"',
    node("Resize", ["image", "", "", "sizes"], {
      attributes: { keep_aspect_ratio_policy: string("odd") },
    }),
  ],
  [
    'attribute "antialias" is for modes "linear" and "cubic"',
    node("Resize", ["image", "", "scales"], { attributes: { antialias: int(1) } }),
  ],
  [
    "it interpolates between int64",
    node("Resize", ["sizes", "", "twice"], { attributes: { mode: string("linear") } }),
  ],
  [
    'attribute "activations" is [Sigmoid,Odd,Tanh]',
    node("LSTM", ["sequence", "weights", "weights"], {
      attributes: { activations: strings(["Sigmoid", "Odd", "Tanh"]) },
    }),
  ],
  [
    'attribute "activations" is [Tanh]',
    node("LSTM", ["sequence", "weights", "weights"], {
      attributes: { activations: strings(["Tanh"]) },
    }),
  ],
  [
    'attribute "direction" is "sideways"',
    node("LSTM", ["sequence", "weights", "weights"], {
      attributes: { direction: string("sideways") },
    }),
  ],
  ["its sequences are empty", node("LSTM", ["nothing", "weights", "weights"])],
  [
    "repeats a label",
    node("Einsum", ["square"], { attributes: { equation: string("ii->i") } }),
  ],
  [
    "is broadcast from 1",
    node("Einsum", ["square", "thin"], { attributes: { equation: string("ij,ij->i") } }),
  ],
  ["how many elements are not zero", node("NonZero", ["x"])],
  [
    "another type than float32",
    node("RMSNormalization", ["x", "channels"], { attributes: { stash_type: int(11) } }),
  ],
  [
    'output "qk_matmul_output"',
    node("Attention", ["heads", "heads", "heads"], { outputs: ["y", "", "", "scores"] }),
  ],
  [
    "its past must be empty",
    node("Attention", ["heads", "heads", "heads", "", "heads", "heads"], {}),
  ],
];

for (const [reason, test, opset] of PARTIAL) {
  Deno.test(`${test.opType} is refused where graft implements it in part: ${reason}`, () => {
    const b = new GraphBuilder(inferTraining);
    b.input("x", "float32", [2, 4]);
    b.input("channels", "float32", [4]);
    b.input("groups", "float32", [2]);
    b.input("image", "float32", [1, 4, 3]);
    b.input("square", "float32", [2, 2]);
    b.input("thin", "float32", [2, 1]);
    b.input("heads", "float32", [1, 1, 3, 2]);
    b.input("training", "bool", []);
    b.initializer("ratio", float32([], [0.1]));
    b.input("sequence", "float32", [3, 1, 2]);
    b.input("nothing", "float32", [0, 1, 2]);
    b.input("weights", "float32", [1, 8, 2]);
    b.initializer("scales", float32([3], [1, 1, 2]));
    b.initializer("twice", float32([1], [2]));
    b.initializer("sizes", int64([3], [1, 4, 5]));
    b.initializer("pads", int64([4], [0, 1, 0, 1]));
    const error = assertThrows(() => lower(b, test, opset), UnsupportedError);
    assertStringIncludes(error.message, `Cannot train through ${test.opType} "n": `);
    assertStringIncludes(error.message, reason);
    assertMatch(error.message, /; export the model without it$/);
  });
}

/** Operators of which a node that reaches lowering is refused whatever its attributes are. */
const REFUSED_WHOLE = [
  "DynamicQuantizeLinear",
  "MatMulInteger",
  "MatMulIntegerToFloat",
  "QAttention",
];

Deno.test("AveragePool: windows far larger than what they read are refused before they are made", () => {
  const pool = (kernel: readonly number[], pads: readonly number[]) => {
    const b = new GraphBuilder(inferTraining);
    b.input("image", "float32", [1, 4, 3, 3]);
    const attributes = { kernel_shape: ints(kernel), pads: ints(pads) };
    lower(b, node("AveragePool", ["image"], { attributes }));
  };
  pool([3, 3], [1, 1, 1, 1]);
  const most = 4_194_304;
  for (
    const [kernel, pads] of [
      [[2048, 2048], [1024, 1024, 1024, 1024]], // of each channel
      [[1, 1], [2048, 2048, 2048, 2048]], // of all positions
    ]
  ) {
    const { message } = assertThrows(() => pool(kernel, pads), RangeError);
    assertStringIncludes(message, `windows [${kernel}] over [1,4,3,3] take more than ${most}`);
  }
});

Deno.test("every operator refuses an attribute that graft does not know, by name", async (t) => {
  for (const rule of allRules()) {
    await t.step(`${rule.domain}:${rule.opType}`, () => {
      const b = new GraphBuilder(inferTraining);
      const test = node(rule.opType, [], {
        domain: rule.domain,
        attributes: { unheard_of: int(1) },
      });
      const error = assertThrows(() => {
        const opset = 21;
        if (rule.lower?.(b, test, { opset, needed: [true] }) === undefined) {
          rule.infer(test, [], { opset });
        }
      }, UnsupportedError);
      const whole = REFUSED_WHOLE.includes(rule.opType);
      assertStringIncludes(error.message, whole ? rule.opType : 'attribute "unheard_of"');
      assertStringIncludes(error.message, "export the model without it");
    });
  }
});

Deno.test("an operator that graft does not know is refused with node, operator and what to do", () => {
  const error = assertThrows(
    () => ruleOf(node("Bogus", ["x"], { domain: "com.example", name: "/encoder/bogus" })),
    UnsupportedError,
  );
  assertStringIncludes(error.message, 'node "/encoder/bogus": operator com.example.Bogus');
  assertStringIncludes(error.message, "export the model without it (`graft inspect --operators`");
});
