/** A model whose data file lies in a folder of its own beside it. */
import { basename, dirname, join } from "@std/path";
import { loadOnnx } from "../../../src/model/load_onnx.ts";
import { encodeModelWithExternalData } from "../../../src/onnx/mod.ts";

/** Writes a copy of a model, its weights in `weights/layers`. */
export function writeSubfolderModel(from: string, to: string): void {
  const location = "weights/layers/model.data";
  using loaded = loadOnnx(from);
  const { model, data } = encodeModelWithExternalData(loaded.model, location);
  Deno.mkdirSync(join(to, dirname(location)), { recursive: true });
  Deno.writeFileSync(join(to, basename(from)), model);
  Deno.writeFileSync(join(to, location), new Uint8Array(data.flatMap((part) => [...part])));
  for (const { name, isFile } of Deno.readDirSync(dirname(from))) {
    const isOther = isFile && !name.includes(".onnx");
    if (isOther) Deno.copyFileSync(join(dirname(from), name), join(to, name));
  }
}
