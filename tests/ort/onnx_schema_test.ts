import { assert, assertEquals } from "@std/assert";
import { ScalarType } from "@bufbuild/protobuf";
import { packedType, type ProtoName, schemaOf } from "../../src/onnx/schema.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { runPython } from "../helpers/run_python.ts";

/** `Message.field number packed` for every field; nested messages named as in C++. */
const PROGRAM = `
from onnx import onnx_ml_pb2 as onnx
def show(message, prefix=""):
    name = prefix + message.name
    for field in message.fields:
        kind = field.message_type.full_name[5:].replace(".", "_") if field.message_type else field.type
        if field.enum_type: kind = 5  # an int32 on the wire
        print(name, field.name, field.number, kind, int(field.GetOptions().packed))
    for inner in message.nested_types: show(inner, name + "_")
for message in onnx.DESCRIPTOR.message_types_by_name.values(): show(message)
`;

testWithPython(["onnx"], "schemaOf() has every field of Python's onnx as it is there", async () => {
  const known = new Set(
    schemaOf("ModelProto").file.messages.flatMap((message) =>
      message.fields.map((field) => {
        // Packed numbers stay the bytes that they are.
        const numbers = packedType(message.name as ProtoName, field.name);
        const kind = numbers === undefined
          ? field.message?.name ?? (field as { scalar: number }).scalar
          : ScalarType[numbers.toUpperCase() as keyof typeof ScalarType];
        const packed = numbers === undefined ? 0 : 1;
        return `${message.name} ${field.name} ${field.number} ${kind} ${packed}`;
      })
    ),
  );
  const fields = (await runPython(PROGRAM)).split("\n");
  assert(fields.length > 100);
  // An older onnx has fewer; whatever it has must be here.
  assertEquals(fields.filter((field) => !known.has(field)), []);
});
