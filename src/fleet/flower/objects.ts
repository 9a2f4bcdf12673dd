/**
 * Flower's objects: what a message holds, in pieces that are named by the SHA-256 of their content.
 *
 * Content is a head in ASCII, `<type> <ids of children, with commas> <length of the body>`, a zero byte
 * and the body. A message names its records, a record its arrays, an array its chunks: an id that has
 * been checked therefore vouches for everything below it.
 *
 * Source: flwr 1.42, `supercore/inflatable`.
 */
import { createHash } from "node:crypto";
import { BadInputError } from "../../errors.ts";

/** Types of objects, as heads name them. */
export type ObjectType =
  | "Message"
  | "RecordDict"
  | "ConfigRecord"
  | "MetricRecord"
  | "ArrayRecord"
  | "Array"
  | "ArrayChunk";

/** An object whose content has the digest that it is named by. */
export interface FlowerObject {
  readonly type: string;
  /** Ids of the objects that it consists of. */
  readonly children: readonly string[];
  readonly body: Uint8Array;
}

/** An object's content and its name. */
export interface EncodedObject {
  readonly id: string;
  readonly content: Uint8Array<ArrayBuffer>;
}

/** Most children of an object: more than any record of graft has, or chunks of an array. */
const MOST_CHILDREN = 1024;
/** Longest head: the type, that many digests, a length. */
const LONGEST_HEAD = 64 + MOST_CHILDREN * 65;

const ID = /^[0-9a-f]{64}$/;

/** Whether a text may be the name of an object. */
export function isObjectId(text: string): boolean {
  return ID.test(text);
}

/** The SHA-256 of an object's content, in hexadecimal digits. */
export function objectId(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Encodes an object; equal children are named once. */
export function encodeObject(
  type: ObjectType,
  children: readonly string[],
  body: Uint8Array,
): EncodedObject {
  const head = new TextEncoder().encode(
    `${type} ${[...new Set(children)].join(",")} ${body.length}\0`,
  );
  const content = new Uint8Array(head.length + body.length);
  content.set(head);
  content.set(body, head.length);
  return { id: objectId(content), content };
}

/**
 * Reads an object.
 *
 * @param id its name, which the content must match
 * @param type what it must be
 * @throws {BadInputError} for content of another name or type, or that is no object
 */
export function decodeObject(id: string, type: ObjectType, content: Uint8Array): FlowerObject {
  if (objectId(content) !== id) {
    throw new BadInputError(
      `Object ${short(id)} of the SuperLink has another digest than its name`,
    );
  }
  const bad = (what: string) => new BadInputError(`Object ${short(id)} of the SuperLink: ${what}`);
  const end = content.subarray(0, LONGEST_HEAD).indexOf(0);
  if (end < 0) throw bad("it has no head");
  const head = new TextDecoder("latin1").decode(content.subarray(0, end)).split(" ");
  if (head.length !== 3) throw bad("its head must have three words");
  const [found, names, length] = head;
  if (found !== type) throw bad(`it must be a ${type}: its head says ${JSON.stringify(found)}`);
  const children = names === "" ? [] : names.split(",");
  if (children.length > MOST_CHILDREN) throw bad(`it has more than ${MOST_CHILDREN} parts`);
  if (!children.every(isObjectId)) throw bad("a part of it is not named by a digest");
  if (new Set(children).size !== children.length) throw bad("it names a part twice");
  const body = content.subarray(end + 1);
  if (length !== String(body.length)) {
    throw bad(`its body has ${body.length} bytes: its head says ${JSON.stringify(length)}`);
  }
  return { type: found, children, body };
}

/** The beginning of an object's name, for messages. */
const short = (id: string) => id.slice(0, 12);
