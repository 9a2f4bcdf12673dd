/** ONNX: parts of one model stand in another. */
import { pick, type Random } from "../random.ts";
import { copyOf, type Fields, messagesOf, type ModelMessage, nameOf } from "./messages.ts";
import { schemaOf } from "../../../../src/onnx/schema.ts";

/** Takes a field of a message from a message of the same kind in another model. */
export function spliced(model: ModelMessage, other: ModelMessage, random: Random): void {
  const [here, there] = [model, other].map((root) => messagesOf(root as unknown as Fields));
  const kinds = [...here.keys()].filter((kind) => there.has(kind));
  const kind = pick(random, kinds);
  const target = pick(random, here.get(kind)!);
  const source = pick(random, there.get(kind)!);
  const fields = schemaOf(nameOf(source)).fields.filter(({ localName }) => {
    const value = source[localName];
    return Array.isArray(value) ? value.length > 0 : Object.hasOwn(source, localName);
  });
  const field = pick(random, fields);
  if (field === undefined) return;
  const copied = (value: unknown) => field.message === undefined ? value : copyOf(value);
  const value = source[field.localName];
  if (!Array.isArray(value)) {
    target[field.localName] = copied(value);
    return;
  }
  const list = [...target[field.localName] as unknown[]];
  const from = random(value.length);
  const taken = value.slice(from, from + 1 + random(8)).map(copied);
  list.splice(random(list.length + 1), random(2) * taken.length, ...taken);
  target[field.localName] = list;
}
