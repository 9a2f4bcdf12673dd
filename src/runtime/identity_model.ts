/** A model of one node that returns its input. */
import type { DataType } from "../graph/dtype.ts";
import { encodeModel } from "../onnx/mod.ts";
import type { Dim } from "../graph/types.ts";

/**
 * @param name of the graph, for the runtime's messages
 * @param shape of x and y; absent: without a rank
 */
export function identityModel(
  name: string,
  dtype: DataType,
  shape?: readonly Dim[],
): Uint8Array<ArrayBuffer> {
  const type = shape === undefined ? { dtype } : { dtype, shape };
  return encodeModel({
    irVersion: 8,
    opsets: { "": 14 },
    graph: {
      name,
      inputs: [{ name: "x", type }],
      outputs: [{ name: "y", type }],
      initializers: new Map(),
      nodes: [{
        name,
        opType: "Identity",
        domain: "",
        inputs: ["x"],
        outputs: ["y"],
        attributes: {},
      }],
      valueInfo: new Map(),
    },
    metadata: {},
  }) as Uint8Array<ArrayBuffer>;
}
