/** Tiny models of a few nodes. */
import type { DataType } from "../../src/graph/dtype.ts";
import type { Tensor } from "../../src/graph/tensor.ts";
import type { Attribute, Dim, Model } from "../../src/graph/types.ts";

/** A value's type and shape, e.g. `["float32", ["n", 4]]`. */
export type Typed = readonly [dtype: DataType, shape: readonly Dim[]];

/** A node, e.g. `["Add", ["x", "y"], ["z"]]`; a domain goes before the operator: `"com.microsoft.Gelu"`. */
export type TinyNode = readonly [
  operator: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes?: Readonly<Record<string, Attribute>>,
];

/** Makes a model of a few nodes at opset 21. */
export function tinyModel(spec: {
  readonly inputs: Readonly<Record<string, Typed>>;
  readonly outputs: Readonly<Record<string, Typed>>;
  readonly nodes: readonly TinyNode[];
  readonly initializers?: Readonly<Record<string, Tensor>>;
  readonly metadata?: Readonly<Record<string, string>>;
}): Model {
  const values = (typed: Readonly<Record<string, Typed>>) =>
    Object.entries(typed).map(([name, [dtype, shape]]) => ({ name, type: { dtype, shape } }));
  return {
    irVersion: 10,
    opsets: { "": 21, "com.microsoft": 1 },
    metadata: spec.metadata ?? {},
    graph: {
      name: "tiny",
      inputs: values(spec.inputs),
      outputs: values(spec.outputs),
      initializers: new Map(Object.entries(spec.initializers ?? {})),
      valueInfo: new Map(),
      nodes: spec.nodes.map(([operator, inputs, outputs, attributes = {}], i) => {
        const dot = operator.lastIndexOf(".");
        return {
          name: `node${i}`,
          opType: operator.slice(dot + 1),
          domain: operator.slice(0, Math.max(0, dot)),
          inputs,
          outputs,
          attributes,
        };
      }),
    },
  };
}
