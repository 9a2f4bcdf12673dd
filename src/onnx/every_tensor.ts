/** Visits and rewrites every tensor of a message, at any depth. */
import type { DescField } from "@bufbuild/protobuf";
import { type Proto, type ProtoName, schemaOf } from "./schema.ts";
import { overlay } from "./sources.ts";

const nameOf = (field: DescField): ProtoName | undefined =>
  (field.fieldKind === "message" || (field.fieldKind === "list" && field.listKind === "message"))
    ? field.message!.name as ProtoName
    : undefined;

/** Fields of each message from which a tensor can be reached. */
const reaching = new Map<ProtoName, readonly DescField[]>();

function fieldsToTensors(name: ProtoName): readonly DescField[] {
  let fields = reaching.get(name);
  if (fields === undefined) {
    fields = schemaOf(name).fields.filter((field) => {
      const inner = nameOf(field);
      return inner !== undefined && reaches(inner, new Set());
    });
    reaching.set(name, fields);
  }
  return fields;
}

function reaches(name: ProtoName, seen: Set<ProtoName>): boolean {
  if (name === "TensorProto") return true;
  if (seen.has(name)) return false;
  seen.add(name);
  return schemaOf(name).fields.some((field) => {
    const inner = nameOf(field);
    return inner !== undefined && reaches(inner, seen);
  });
}

type Fields = Record<string, unknown>;

const childrenOf = (message: Fields, field: DescField): readonly Fields[] => {
  const value = message[field.localName];
  return Array.isArray(value) ? value : value === undefined ? [] : [value as Fields];
};

/** Calls `visit` with every tensor in a message and the path to it: `graph.initializer[3] "w"`. */
export function forEachTensor<N extends ProtoName>(
  name: N,
  message: Proto<N>,
  visit: (tensor: Proto<"TensorProto">, place: string) => void,
): void {
  const walk = (name: ProtoName, message: Fields, place: string) => {
    if (name === "TensorProto") {
      const tensor = message as unknown as Proto<"TensorProto">;
      return visit(tensor, `${place} "${tensor.name}"`);
    }
    for (const field of fieldsToTensors(name)) {
      const prefix = place === "" ? field.name : `${place}.${field.name}`;
      for (const [i, child] of childrenOf(message, field).entries()) {
        const at = field.fieldKind === "list" ? `${prefix}[${i}]` : prefix;
        walk(nameOf(field)!, child, at);
      }
    }
  };
  walk(name, message as unknown as Fields, "");
}

/**
 * The message with every tensor replaced by what `change` returns for it; unchanged parts are shared
 * with the argument.
 */
export function mapTensors<N extends ProtoName>(
  name: N,
  message: Proto<N>,
  change: (tensor: Proto<"TensorProto">) => Proto<"TensorProto">,
): Proto<N> {
  const map = (name: ProtoName, message: Fields): Fields => {
    if (name === "TensorProto") {
      return change(message as unknown as Proto<"TensorProto">) as unknown as Fields;
    }
    const fields: Fields = {};
    for (const field of fieldsToTensors(name)) {
      const children = childrenOf(message, field);
      if (children.length === 0) continue;
      const mapped = children.map((child) => map(nameOf(field)!, child));
      fields[field.localName] = field.fieldKind === "list" ? mapped : mapped[0];
    }
    return overlay(name, message as unknown as Proto<ProtoName>, fields) as unknown as Fields;
  };
  return map(name, message as unknown as Fields) as unknown as Proto<N>;
}
