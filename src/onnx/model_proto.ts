/** Converts a model to protobuf messages. */
import type { Graph, Model, Node } from "../graph/types.ts";
import { encodeAttribute } from "./attribute_proto.ts";
import { normalDomain } from "./decode.ts";
import type { Proto } from "./schema.ts";
import { overlay, protosOfList } from "./sources.ts";
import { encodeTensor } from "./tensor_proto.ts";
import { encodeValueInfo } from "./value_proto.ts";

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
