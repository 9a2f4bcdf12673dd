import { assert, assertEquals } from "@std/assert";
import type { DataType } from "../../src/graph/dtype.ts";
import { byteLength } from "../../src/graph/dtype.ts";
import type { Tensor } from "../../src/graph/tensor.ts";
import { decodeSafetensors, encodeSafetensors } from "../../src/safetensors/mod.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { runPython } from "../helpers/run_python.ts";
import { filesIn } from "../helpers/files_in.ts";

const FIXTURES = new URL("../fixtures/", import.meta.url).pathname;

/** A file with a tensor of every type that Python's writer has too. */
function everyType(): Map<string, Tensor> {
  const types: DataType[] = ["bool", "uint8", "int8", "int16", "uint16", "float16", "int32"];
  types.push("uint32", "float32", "float64", "int64", "uint64");
  const tensors = types.flatMap((dtype, i): [string, Tensor][] => {
    const bytes = new Uint8Array(byteLength(dtype, 6)).fill(dtype === "bool" ? 1 : i);
    return [[`é.${dtype}`, { dtype, dims: [2, 3], bytes }], [`A.${dtype}`, {
      dtype,
      dims: [0],
      bytes: new Uint8Array(),
    }]];
  });
  return new Map(tensors);
}

Deno.test("encodeSafetensors() gives back the bytes of every file that Python wrote", () => {
  let count = 0;
  for (const name of filesIn(FIXTURES).filter((name) => name.endsWith(".safetensors"))) {
    const path = `${FIXTURES}${name}`;
    const file = Deno.readFileSync(path);
    const { tensors, metadata } = decodeSafetensors(file, { file: path });
    const encoded = encodeSafetensors(tensors, metadata);
    assertEquals(encoded.byteLength, file.byteLength, path);
    assert(encoded.every((byte, i) => byte === file[i]), path);
    count++;
  }
  assert(count >= 5);
});

testWithPython(
  ["safetensors", "numpy"],
  "encodeSafetensors() writes what Python's reader reads, and the same bytes as its writer",
  async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeFile(`${folder}/graft.safetensors`, encodeSafetensors(everyType()));
      const listing = await runPython(
        `
import sys
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
folder = sys.argv[1]
tensors = load_file(folder + "/graft.safetensors")
with safe_open(folder + "/graft.safetensors", "np") as file: print(file.metadata())
for name in sorted(tensors): print(name, tensors[name].dtype, list(tensors[name].shape), tensors[name].tobytes().hex())
save_file(tensors, folder + "/python.safetensors", {"format": "pt"})
`,
        [folder],
      );
      const [metadata, ...lines] = listing.split("\n");
      assertEquals(metadata, "{'format': 'pt'}");
      const expected = [...everyType()].map(([name, { dtype, dims, bytes }]) =>
        `${name} ${dtype} [${dims.join(", ")}] ${bytes.toHex()}`.trimEnd()
      );
      assertEquals(lines.map((line) => line.trimEnd()), expected.sort());
      assertEquals(
        await Deno.readFile(`${folder}/python.safetensors`),
        await Deno.readFile(`${folder}/graft.safetensors`),
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
