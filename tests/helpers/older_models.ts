/** The fixtures as exporters wrote them when the oldest supported ONNX Runtime was new. */
import { encodeModel } from "../../src/onnx/mod.ts";
import type { Model } from "../../src/graph/types.ts";
import { modelDir, readModel } from "./fixture_models.ts";

/**
 * A model at opset 21 (no operator of the fixtures changed in 22), and attention without the inputs
 * and attributes that came later, which do nothing in the fixtures.
 */
export function forOldest(model: Model): Model {
  const nodes = model.graph.nodes.map((node) => {
    if (node.opType !== "GroupQueryAttention") return node;
    const { num_heads, kv_num_heads, scale, do_rotary } = node.attributes;
    const attributes = { num_heads, kv_num_heads, scale, do_rotary };
    return { ...node, inputs: node.inputs.slice(0, 9), attributes, rest: undefined };
  });
  return { ...model, opsets: { ...model.opsets, "": 21 }, graph: { ...model.graph, nodes } };
}

/**
 * A model whose MatMulNBits compute in floats: which activations are rounded to 8 bits otherwise is
 * each release's own choice, so that outputs differ by more than a float's rounding.
 */
export function inFloats(model: Model): Model {
  const nodes = model.graph.nodes.map((node) => {
    if (node.opType !== "MatMulNBits") return node;
    const { accuracy_level: _, ...attributes } = node.attributes;
    return { ...node, attributes };
  });
  return { ...model, graph: { ...model.graph, nodes } };
}

/** Writes a fixture's folder anew with {@linkcode forOldest} and {@linkcode inFloats}. */
export function saveForOldest(name: string, folder: string): void {
  Deno.mkdirSync(folder);
  for (const { name: file } of Deno.readDirSync(modelDir(name))) {
    if (file.startsWith("model.onnx")) continue;
    Deno.copyFileSync(`${modelDir(name)}/${file}`, `${folder}/${file}`);
  }
  const model = inFloats(forOldest(readModel(modelDir(name))));
  const bytes = encodeModel(model, { external: () => "inline" });
  Deno.writeFileSync(`${folder}/model.onnx`, bytes as Uint8Array<ArrayBuffer>);
}
