/** Pools inside the graph, because only the mean of a text's token states is used. */
import { node } from "../graph/node.ts";
import { int64 } from "../graph/tensor.ts";
import type { Model, Node } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";

/** Outputs that hold a vector per token, in the order of preference. */
export const TOKEN_OUTPUTS: readonly string[] = [
  "last_hidden_state",
  "token_embeddings",
  "hidden_states",
];
/** Outputs that hold a vector per sentence. */
export const SENTENCE_OUTPUTS: readonly string[] = [
  "sentence_embedding",
  "sentence_embeddings",
  "embeddings",
];

/**
 * An encoder with an output `sentence_embedding`, [batch, width]: the sum of the states of each
 * sequence's real tokens, which has the direction of their mean.
 *
 * @returns the model itself if it has such an output, or states or a mask of another kind
 */
export function withSentenceEmbedding(model: Model): Model {
  const { graph } = model;
  const outputs = new Map(graph.outputs.map((output) => [output.name, output.type]));
  const mask = graph.inputs.find(({ name }) => name === "attention_mask")?.type;
  const states = TOKEN_OUTPUTS.find((name) => outputs.has(name));
  if (SENTENCE_OUTPUTS.some((name) => outputs.has(name)) || states === undefined) return model;
  const { dtype, shape } = outputs.get(states) ?? {};
  if (dtype !== "float32" || shape?.length !== 3 || mask?.shape?.length !== 2) return model;
  const [embedding] = SENTENCE_OUTPUTS;
  const part = (what: string) => `${embedding}.${what}`;
  const nodes: Node[] = [
    node("Cast", ["attention_mask"], part("mask"), { to: { kind: "int", value: 1 } }),
    node("Reshape", [part("mask"), part("row_shape")], part("row")),
    node("MatMul", [part("row"), states], part("sum")),
    node("Reshape", [part("sum"), part("shape")], embedding),
  ];
  return {
    ...model,
    graph: verify({
      ...graph,
      nodes: [...graph.nodes, ...nodes],
      outputs: [...graph.outputs, {
        name: embedding,
        type: { dtype, shape: [shape[0], shape[2]] },
      }],
      // 0 keeps a dimension, -1 is inferred: [batch, 1, length] and [batch, width].
      initializers: new Map([
        ...graph.initializers,
        [part("row_shape"), int64([3], [0, 1, -1])],
        [part("shape"), int64([2], [0, -1])],
      ]),
    }, "withSentenceEmbedding()"),
  };
}
