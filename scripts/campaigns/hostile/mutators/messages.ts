/** ONNX models as trees of messages, for mutators that keep the protobuf well-formed. */
import { clone, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Proto, type ProtoName, schemaOf } from "../../../../src/onnx/schema.ts";

/** Any message, its fields by name. */
export type Fields = Record<string, unknown> & { $typeName: string };

export type ModelMessage = Proto<"ModelProto">;

export const readModel = (bytes: Uint8Array): ModelMessage =>
  fromBinary(schemaOf("ModelProto"), bytes);

export const writeModel = (model: ModelMessage): Uint8Array =>
  toBinary(schemaOf("ModelProto"), model);

export const nameOf = ({ $typeName }: Fields) => $typeName.replace("onnx.", "") as ProtoName;

/** All messages by their kind (`onnx.NodeProto`), those inside others included. */
export function messagesOf(root: Fields): Map<string, Fields[]> {
  const found = new Map<string, Fields[]>();
  const walk = (message: Fields) => {
    const list = found.get(message.$typeName) ?? [];
    list.push(message);
    found.set(message.$typeName, list);
    for (const value of Object.values(message)) {
      for (const child of Array.isArray(value) ? value : [value]) {
        if (typeof child === "object" && child !== null && "$typeName" in child) {
          walk(child as Fields);
        }
      }
    }
  };
  walk(root);
  return found;
}

/** All messages of one kind. */
export function allOf<N extends ProtoName>(model: ModelMessage, name: N): Proto<N>[] {
  return (messagesOf(model as unknown as Fields).get(`onnx.${name}`) ?? []) as unknown as Proto<
    N
  >[];
}

/** A message of its own: the same one in two places would be a graph in itself, which has no end. */
export function copyOf<T>(message: T): T {
  const fields = message as unknown as Fields;
  return clone(schemaOf(nameOf(fields)), fields as never) as unknown as T;
}
