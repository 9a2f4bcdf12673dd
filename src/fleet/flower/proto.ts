/**
 * The messages of Flower's Fleet API that graft sends and reads, as `@bufbuild/protobuf` descriptors.
 *
 * Field names, numbers and types are those of `fleet.proto`, `message.proto`, `recorddict.proto`,
 * `heartbeat.proto`, `node.proto` and `error.proto` of flwr 1.40 to 1.42, which are alike. Nested messages carry
 * the name of the outer one before theirs.
 */
import { fromBinary } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { BadInputError } from "../../errors.ts";
import { describeMessages, type ProtoOf } from "../../protobuf/message_table.ts";

const MESSAGES = {
  Node: { node_id: [1, "uint64"] },
  RegisterNodeFleetRequest: { public_key: [1, "bytes"] },
  RegisterNodeFleetResponse: { node_id: [1, "uint64"] },
  ActivateNodeRequest: { public_key: [1, "bytes"], heartbeat_interval: [2, "double"] },
  ActivateNodeResponse: { node_id: [1, "uint64"] },
  DeactivateNodeRequest: { node_id: [1, "uint64"] },
  DeactivateNodeResponse: {},
  SendNodeHeartbeatRequest: { node: [1, "Node"], heartbeat_interval: [2, "double"] },
  SendNodeHeartbeatResponse: { success: [1, "bool"] },
  PullMessagesRequest: { node: [1, "Node"] },
  PullMessagesResponse: { messages_list: [2, "Message[]"] },
  PushMessagesRequest: {
    node: [1, "Node"],
    messages_list: [2, "Message[]"],
    message_object_trees: [3, "ObjectTree[]"],
    clientapp_runtime_list: [4, "double[]"],
  },
  PushMessagesResponse: { objects_to_push: [3, "string[]"], session_id: [4, "string"] },
  PushObjectRequest: {
    node: [1, "Node"],
    run_id: [2, "uint64"],
    object_id: [3, "string"],
    object_content: [4, "bytes"],
    session_id: [5, "string"],
  },
  PushObjectResponse: { stored: [1, "bool"] },
  PullObjectRequest: { node: [1, "Node"], run_id: [2, "uint64"], object_id: [3, "string"] },
  PullObjectResponse: {
    object_found: [1, "bool"],
    object_available: [2, "bool"],
    object_content: [3, "bytes"],
  },
  ConfirmMessageReceivedRequest: {
    node: [1, "Node"],
    run_id: [2, "uint64"],
    message_object_id: [3, "string"],
  },
  ConfirmMessageReceivedResponse: {},
  ObjectTree: { object_id: [1, "string"], children: [2, "ObjectTree[]"] },
  Message: { metadata: [1, "Metadata"], content: [2, "RecordDict"], error: [3, "Error"] },
  /** Its records travel as objects. */
  RecordDict: {},
  Error: { code: [1, "sint64"], reason: [2, "string"] },
  Metadata: {
    run_id: [1, "uint64"],
    message_id: [2, "string"],
    src_node_id: [3, "uint64"],
    dst_node_id: [4, "uint64"],
    reply_to_message_id: [5, "string"],
    group_id: [6, "string"],
    ttl: [7, "double"],
    message_type: [8, "string"],
    created_at: [9, "double"],
    src_task_id: [10, "uint64"],
    dst_task_id: [11, "uint64"],
  },
  ConfigRecord: { items: [1, "ConfigRecord_Item[]"] },
  ConfigRecord_Item: { key: [1, "string"], value: [2, "ConfigRecordValue"] },
  ConfigRecordValue: {
    double: [1, "double"],
    sint64: [2, "sint64"],
    uint64: [3, "uint64"],
    bool: [4, "bool"],
    string: [5, "string"],
    string_list: [25, "StringList"],
  },
  StringList: { vals: [1, "string[]"] },
  MetricRecord: { items: [1, "MetricRecord_Item[]"] },
  MetricRecord_Item: { key: [1, "string"], value: [2, "MetricRecordValue"] },
  MetricRecordValue: { double: [1, "double"], sint64: [2, "sint64"], uint64: [3, "uint64"] },
} as const;

/** Name of a message in the table. */
export type FlowerName = keyof typeof MESSAGES;

/** A decoded message. */
export type FlowerProto<N extends FlowerName> = ProtoOf<typeof MESSAGES, "flwr.proto", N>;

const describe = describeMessages("flwr.proto", MESSAGES);

/** The descriptor of a message, for `fromBinary`, `toBinary` and `create`. */
export function flowerSchema<N extends FlowerName>(name: N): GenMessage<FlowerProto<N>> {
  return describe(name);
}

/**
 * Reads a message. What it can take in memory is bounded by the caller, who bounds its bytes.
 *
 * @param where for the message of the error
 * @throws {BadInputError} for other bytes
 */
export function decodeFlower<N extends FlowerName>(
  name: N,
  bytes: Uint8Array,
  where: string,
): FlowerProto<N> {
  try {
    return fromBinary(flowerSchema(name), bytes, { readUnknownFields: false });
  } catch (error) {
    throw new BadInputError(`${where}: it is no ${name}: ${(error as Error).message}`);
  }
}
