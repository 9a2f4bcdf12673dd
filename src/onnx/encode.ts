/** Model → ONNX bytes. */
import type { Graph, Model, Node } from "../graph/types.ts";
import { encodeAttribute } from "./attribute_proto.ts";
import { chunksOf, concatenated } from "./chunks.ts";
import { normalDomain } from "./decode.ts";
import { type ExternalChoice, externalise } from "./external.ts";
import type { Proto } from "./schema.ts";
import { overlay, protosOfList } from "./sources.ts";
import { encodeTensor } from "./tensor_proto.ts";
import { encodeValueInfo } from "./value_proto.ts";

/** Options of {@linkcode encodeModel}: where tensor data is stored. */
export interface EncodeOptions {
  /**
   * Called for every tensor in the model: an {@linkcode ExternalRef} gives the file range beside the
   * model that has its data, `"inline"` puts it into the model. Without a result a tensor from a file
   * stays as it was there (in the same external range, if it had one), and a new one is inline.
   */
  readonly external?: ExternalChoice;
}

/** The bytes of a model. Parts that were not changed since `decodeModel` are written as they were read. */
export function encodeModel(model: Model, options: EncodeOptions = {}): Uint8Array {
  return concatenated(encodeModelChunks(model, options));
}

/**
 * The bytes of a model as chunks to be written in order; large inline tensors are views, so that writing
 * a model needs no second copy of its weights.
 */
export function encodeModelChunks(model: Model, options: EncodeOptions = {}): Uint8Array[] {
  let proto = modelProto(model);
  if (options.external !== undefined) proto = externalise(proto, options.external);
  return chunksOf("ModelProto", proto);
}

/** The message of a model, sharing unchanged parts with the one it was read from. */
export function modelProto(model: Model): Proto<"ModelProto"> {
  return overlay("ModelProto", model.rest as Proto<"ModelProto"> | undefined, {
    irVersion: BigInt(model.irVersion),
    graph: encodeGraph(model.graph),
    opsetImport: protosOfList<"OperatorSetIdProto">(model.opsets) ??
      Object.entries(model.opsets).map(([domain, version]) =>
        overlay("OperatorSetIdProto", undefined, { domain, version: BigInt(version) })
      ),
    metadataProps: protosOfList<"StringStringEntryProto">(model.metadata) ??
      Object.entries(model.metadata).map(([key, value]) =>
        overlay("StringStringEntryProto", undefined, { key, value })
      ),
  });
}

function encodeGraph(graph: Graph): Proto<"GraphProto"> {
  const source = graph.rest as Proto<"GraphProto"> | undefined;
  const previous = new Map(source?.initializer.map((tensor) => [tensor.name, tensor]));
  return overlay("GraphProto", source, {
    name: graph.name,
    node: graph.nodes.map(encodeNode),
    initializer: [...graph.initializers].map(([name, tensor]) =>
      encodeTensor(name, tensor, previous.get(name))
    ),
    input: graph.inputs.map(encodeValueInfo),
    output: graph.outputs.map(encodeValueInfo),
    valueInfo: protosOfList<"ValueInfoProto">(graph.valueInfo) ??
      [...graph.valueInfo.values()].map(encodeValueInfo),
  });
}

function encodeNode(node: Node): Proto<"NodeProto"> {
  const source = node.rest as Proto<"NodeProto"> | undefined;
  return overlay("NodeProto", source, {
    input: [...node.inputs],
    output: [...node.outputs],
    opType: node.opType,
    attribute: Object.entries(node.attributes).map(([name, attribute]) =>
      encodeAttribute(name, attribute, encodeGraph)
    ),
    ...(node.name !== (source?.name ?? "") && { name: node.name }),
    ...(node.domain !== normalDomain(source?.domain ?? "") && { domain: node.domain }),
  });
}
