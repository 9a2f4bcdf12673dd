/** Every ONNX model that the tests can find. */
import type { Dim, Model } from "../../src/graph/types.ts";
import { elementCount, type Tensor } from "../../src/graph/tensor.ts";
import { byteLength } from "../../src/graph/dtype.ts";
import { int64 } from "../../src/graph/tensor.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Where models lie; the last one only where a machine has the large models that no fixture can be. */
const PLACES = [`${ROOT}tests/fixtures/models`, `${ROOT}models`, `${ROOT}../shared/models`];

function entriesOf(folder: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(folder)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Folders with a `model.onnx`, by name; of equal names the first. */
export function modelFolders(): Map<string, string> {
  const found = new Map<string, string>();
  for (const place of PLACES) {
    for (const { name } of entriesOf(place)) {
      const isModel = entriesOf(`${place}/${name}`).some((entry) => entry.name === "model.onnx");
      if (isModel && !found.has(name)) found.set(name, `${place}/${name}`);
    }
  }
  return found;
}

/** A small prompt for any of the models: feeds by input name. */
export function smallFeeds(model: Model, headSize = 0): Record<string, Tensor> {
  const sequence = 5;
  const sizeOf = (dim: Dim) => {
    if (typeof dim === "number") return dim;
    if (dim.startsWith("batch")) return 1;
    if (dim.startsWith("past")) return 0;
    return dim === "kv_cache_dim" ? headSize : sequence;
  };
  const feeds: Record<string, Tensor> = {};
  for (const { name, type } of model.graph.inputs) {
    const dims = type!.shape!.map(sizeOf);
    const count = elementCount(dims);
    if (type!.dtype === "int64") {
      const value = name.includes("mask")
        ? () => 1
        : name.includes("type")
        ? () => 0
        : name.includes("position")
        ? (i: number) => i
        : (i: number) => 7 + 3 * i;
      feeds[name] = int64(dims, Array.from({ length: count }, (_, i) => value(i)));
    } else {
      const bytes = new Uint8Array(byteLength(type!.dtype, count));
      feeds[name] = { dtype: type!.dtype, dims, bytes };
    }
  }
  return feeds;
}

/** Size of a head as `genai_config.json` gives it, 0 for a model without one. */
export function headSizeOf(folder: string): number {
  if (!entriesOf(folder).some(({ name }) => name === "genai_config.json")) return 0;
  return JSON.parse(Deno.readTextFileSync(`${folder}/genai_config.json`)).model.decoder.head_size;
}
