/** Finds the linear layers of a user's graph and the Hugging Face names they go by. */
import { intAttribute } from "../graph/attributes.ts";
import { toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { type GraphIndex, indexGraph } from "./graph_index.ts";
import { type LinearForm, linearForm } from "./linear.ts";
import { nameLinears } from "./name_linears.ts";
import { layerOf } from "./names.ts";

/** A linear layer under its Hugging Face name; one slice of a fused qkv counts as a layer of its own. */
export interface LinearModule extends LinearForm {
  /** Module path as transformers and PEFT write it: `model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  /** Number of the layer it lies in, `undefined` outside the layers. */
  readonly layer?: number;
  /** Whether it makes the model's logits: PEFT's `all-linear` leaves such heads out. */
  readonly head: boolean;
}

/**
 * Finds every weight-bearing linear of a model.
 *
 * Names come from node metadata, node names, weight and bias names, in this order, else from the
 * graph's structure; a linear that none of them names goes by its output value's name.
 *
 * @param options.allowAmbiguous keeps modules that share a path instead of refusing, for listings
 * @returns modules in the graph's order
 * @throws {BadInputError} where two linears claim one path, naming both
 */
export function findModules(
  model: Model,
  options: { readonly allowAmbiguous?: boolean } = {},
): readonly LinearModule[] {
  const index = indexGraph(model.graph);
  const linears = model.graph.nodes.flatMap((node) => linearForm(index, node) ?? []);
  const paths = nameLinears(model, index, linears);
  const modules = linears.flatMap((linear, i) => split(index, linear, paths[i]));
  if (options.allowAmbiguous !== true) refuseAmbiguous(modules);
  return modules;
}

/** A linear as modules: itself, or its q, k and v where it is a fused one. */
function split(index: GraphIndex, linear: LinearForm, path: string): readonly LinearModule[] {
  const layer = layerOf(path);
  const common = { ...linear, ...(layer === undefined ? {} : { layer }) };
  const result = linear.bias?.output ?? linear.output;
  const sizes = packedSizes(index, result, linear);
  if (sizes === undefined) return [{ ...common, path, head: isHead(index, result, path) }];
  const parent = path.slice(0, path.lastIndexOf(".") + 1);
  let offset = 0;
  return sizes.map((size, i) => {
    const slice = { offset, size, total: linear.outFeatures };
    offset += size;
    const name = ["q_proj", "k_proj", "v_proj"][i];
    return { ...common, path: `${parent}${name}`, outFeatures: size, slice, head: false };
  });
}

/**
 * Sizes of q, k and v in a fused product: one that a GroupQueryAttention takes packed, or that
 * onnxruntime-genai's builder fused and splits again (to normalise q and k).
 */
function packedSizes(
  index: GraphIndex,
  value: string,
  { outFeatures, node: { name } }: LinearForm,
): readonly number[] | undefined {
  const readers = index.consumers(value);
  const [node] = readers;
  if (readers.length !== 1 || node.inputs[0] !== value) return undefined;
  if (node.opType === "GroupQueryAttention" && !node.inputs[1]) {
    const query = intAttribute(node, "num_heads", 0);
    const keyValue = intAttribute(node, "kv_num_heads", query);
    const head = outFeatures / (query + 2 * keyValue);
    return [query * head, keyValue * head, keyValue * head];
  }
  if (node.opType !== "Split" || node.outputs.length !== 3) return undefined;
  // Elsewhere a fused linear that is split is a module of that name (GPT-2's c_attn, Phi-3's qkv_proj).
  if (!/\/attn\/qkv_proj\/[^/]*$/.test(name)) return undefined;
  const sizes = index.constant(node.inputs[1] ?? "");
  return sizes === undefined ? undefined : Array.from(toNumbers(sizes));
}

function isHead(index: GraphIndex, result: string, path: string): boolean {
  return index.isOutput(result) || ["lm_head", "score", "classifier"].includes(path);
}

function refuseAmbiguous(modules: readonly LinearModule[]): void {
  const seen = new Map<string, LinearModule>();
  for (const module of modules) {
    const other = seen.get(module.path);
    if (other !== undefined) {
      const candidates = [other, module].map(({ node, weight }) =>
        `node "${node.name}" with weight "${weight}"`
      );
      throw new BadInputError(
        `Cannot name the linear layers of this graph: two candidates for module "${module.path}": ` +
          candidates.join(" and "),
      );
    }
    seen.set(module.path, module);
  }
}
