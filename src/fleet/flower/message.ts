/** Messages of Flower: what a server asks of a node, and the node's replies. */
import { create, toBinary } from "@bufbuild/protobuf";
import { BadInputError } from "../../errors.ts";
import { type EncodedObject, encodeObject, isObjectId } from "./objects.ts";
import { type FlowerProto, flowerSchema } from "./proto.ts";
import { encodeRecords, type Records } from "./records.ts";

/** What a message says of itself; ids are 64 bits without a sign. */
export interface MessageHeader {
  readonly runId: bigint;
  /** Name of the message's object. */
  readonly messageId: string;
  readonly from: bigint;
  readonly to: bigint;
  /** The round, as most apps use it. */
  readonly group: string;
  readonly type: string;
  /** Seconds since 1970 after which nobody waits for the answer. */
  readonly expires: number;
  readonly fromTask?: bigint;
  readonly toTask?: bigint;
}

/** Longest text of a header. */
const LONGEST_TEXT = 200;

/**
 * Reads a message's header.
 *
 * @param node whom it must be for
 * @throws {BadInputError} for one that cannot be answered
 */
export function readHeader(
  metadata: FlowerProto<"Metadata"> | undefined,
  node: bigint,
): MessageHeader {
  const bad = (what: string) => new BadInputError(`The SuperLink sent a message ${what}`);
  if (metadata === undefined) throw bad("without a header");
  const { messageId, messageType: type, groupId: group, ttl, createdAt } = metadata;
  if (!isObjectId(messageId)) throw bad("that is not named by a digest");
  if (type.length > LONGEST_TEXT || group.length > LONGEST_TEXT) throw bad("of a strange type");
  if (metadata.dstNodeId !== node) throw bad("for another node");
  const expires = createdAt + ttl;
  if (!Number.isFinite(expires)) throw bad("whose time does not end");
  return {
    ...{ runId: metadata.runId, messageId, group, type, expires },
    ...{ from: metadata.srcNodeId, to: metadata.dstNodeId },
    ...(Object.hasOwn(metadata, "srcTaskId") ? { fromTask: metadata.srcTaskId } : {}),
    ...(Object.hasOwn(metadata, "dstTaskId") ? { toTask: metadata.dstTaskId } : {}),
  };
}

/** Why a message cannot be answered as it asks. */
export interface ReplyError {
  readonly code: number;
  readonly reason: string;
}

/** A reply's own message, the names of its objects as a tree, and the objects themselves. */
export interface EncodedReply {
  readonly message: FlowerProto<"Message">;
  readonly tree: FlowerProto<"ObjectTree">;
  readonly objects: ReadonlyMap<string, EncodedObject>;
}

/** Seconds that clocks may differ before a SuperLink refuses a reply for its time. */
const CLOCK_MARGIN = 0.05;

/**
 * Encodes the reply to a message.
 *
 * @param now seconds since 1970
 */
export function encodeReply(
  header: MessageHeader,
  content: Records | ReplyError,
  now: number = Date.now() / 1000,
): EncodedReply {
  const parts = "code" in content ? [] : encodeRecords(content);
  const metadata = {
    ...{ runId: header.runId, srcNodeId: header.to, dstNodeId: header.from },
    ...{ replyToMessageId: header.messageId, groupId: header.group, messageType: header.type },
    ...{ createdAt: now, ttl: header.expires - now - CLOCK_MARGIN },
    ...(header.toTask === undefined ? {} : { srcTaskId: header.toTask }),
    ...(header.fromTask === undefined ? {} : { dstTaskId: header.fromTask }),
  };
  const error = "code" in content
    ? { code: BigInt(content.code), reason: content.reason }
    : undefined;
  const schema = flowerSchema("Message");
  // The name is the digest of the message without its name.
  const body = toBinary(schema, create(schema, { metadata, error }));
  const own = encodeObject("Message", parts.slice(-1).map(({ id }) => id), body);
  const objects = new Map([...parts, own].map((object) => [object.id, object]));
  return {
    message: create(schema, {
      metadata: { ...metadata, messageId: own.id },
      ...(error === undefined ? { content: {} } : { error }),
    }),
    tree: treeOf(own.id, objects),
    objects,
  };
}

/** Names of an object's parts, as its head has them. */
function treeOf(
  id: string,
  objects: ReadonlyMap<string, EncodedObject>,
): FlowerProto<"ObjectTree"> {
  const { content } = objects.get(id)!;
  const head = new TextDecoder("latin1").decode(content.subarray(0, content.indexOf(0)));
  const children = head.split(" ")[1].split(",").filter((child) => child !== "");
  return create(flowerSchema("ObjectTree"), {
    objectId: id,
    children: children.map((child) => treeOf(child, objects)),
  });
}
