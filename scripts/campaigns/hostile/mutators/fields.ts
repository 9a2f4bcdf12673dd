/** ONNX: any field of any message says something else. */
import { type DescField, ScalarType } from "@bufbuild/protobuf";
import { schemaOf } from "../../../../src/onnx/schema.ts";
import { pick, type Random } from "../random.ts";
import { copyOf, type Fields, messagesOf, type ModelMessage, nameOf } from "./messages.ts";

const INTEGERS = [0n, 1n, -1n, 2n, 8n, 255n, 2n ** 31n, 2n ** 53n, 2n ** 62n, -(2n ** 63n)];
const NUMBERS = [0, 1, -1, 2, 3, 7, 8, 9, 16, 22, 23, 127, 255, 2 ** 31 - 1, -(2 ** 31)];
const FLOATS = [0, -0, 1, NaN, Infinity, -Infinity, 3e38, 1e-45];
const TEXTS = ["", "x", "w", "..", "/etc/passwd", "\0", "__proto__", "ai.onnx", "If", "é", "1e99"];

function otherValue(field: DescField, found: Map<string, Fields[]>, random: Random): unknown {
  if (field.message !== undefined) {
    const other = pick(random, found.get(field.message.typeName) ?? [undefined]);
    return other && copyOf(other); // itself would be a graph in itself, which has no end
  }
  switch ((field as { scalar: ScalarType }).scalar) {
    case ScalarType.STRING: {
      // A name that is used elsewhere makes cycles, repeats and wrong references.
      const nodes = found.get("onnx.NodeProto") ?? [];
      const names = nodes.length > 0 ? (pick(random, nodes).output as string[]) : [];
      return pick(random, [...TEXTS, ...names]);
    }
    case ScalarType.BYTES:
      return new Uint8Array(random(64));
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return pick(random, FLOATS);
    case ScalarType.INT64:
      return pick(random, INTEGERS);
    case ScalarType.UINT64:
      return BigInt.asUintN(64, pick(random, INTEGERS));
    default:
      return pick(random, NUMBERS);
  }
}

function changeField(message: Fields, found: Map<string, Fields[]>, random: Random): void {
  const schema = schemaOf(nameOf(message));
  const set = schema.fields.filter(({ localName }) => {
    const value = message[localName];
    return Array.isArray(value) ? value.length > 0 : Object.hasOwn(message, localName);
  });
  // Mostly fields in use: most others are in use nowhere.
  const field = pick(random, random(4) > 0 && set.length > 0 ? set : schema.fields);
  const value = otherValue(field, found, random);
  if (field.fieldKind !== "list") {
    if (value === undefined || random(4) === 0) delete message[field.localName];
    else message[field.localName] = value;
    return;
  }
  const list = [...message[field.localName] as unknown[]];
  const at = random(list.length + 1);
  const item = value === undefined ? [] : [value];
  list.splice(at, random(2), ...(random(3) === 0 ? list.slice(0, 1 + random(4)) : item));
  message[field.localName] = list;
}

/** Changes a field of any message. */
export function otherField(model: ModelMessage, random: Random): void {
  const found = messagesOf(model as unknown as Fields);
  // By kind first: nodes would otherwise crowd out everything there is one of.
  changeField(pick(random, found.get(pick(random, [...found.keys()]))!), found, random);
}
