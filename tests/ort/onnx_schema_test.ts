import { assert, assertEquals } from "@std/assert";
import { schemaOf } from "../../src/onnx/schema.ts";
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
        const kind = field.message?.name ?? (field as { scalar: number }).scalar;
        const packed = field.fieldKind === "list" && field.packed ? 1 : 0;
        return `${message.name} ${field.name} ${field.number} ${kind} ${packed}`;
      })
    ),
  );
  const fields = (await runPython(PROGRAM)).split("\n");
  assert(fields.length > 100);
  // An older onnx has fewer; whatever it has must be here.
  assertEquals(fields.filter((field) => !known.has(field)), []);
});
