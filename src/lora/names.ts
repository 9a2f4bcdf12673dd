/**
 * Derives Hugging Face module paths from the names in an exported graph.
 *
 * PyTorch's exporter writes module scopes into node metadata, its older one into node names,
 * onnxruntime-genai into both node and initializer names; quantisers add suffixes to all of them.
 */
import type { Model, Node } from "../graph/types.ts";

/** Key of the module scopes that PyTorch's exporter stores with a node, outermost first. */
const SCOPES = "pkg.torch.onnx.name_scopes";
/** Key of the classes of those scopes. */
const CLASSES = "pkg.torch.onnx.class_hierarchy";

/** First components of complete module paths in transformers' models. */
const ROOTS: ReadonlySet<string> = new Set([
  ..."model transformer bert roberta distilbert electra albert deberta mpnet nomic_bert gpt_neox"
    .split(" "),
  ..."encoder decoder embeddings layers layer h shared lm_head cls classifier pooler score".split(
    " ",
  ),
  ..."pre_classifier qa_outputs backbone language_model text_model vision_model".split(" "),
]);

/** Those of them that occur only at the top: a `model` around them is a wrapper. */
const TOP =
  /^(model|transformer|lm_head|classifier|score|pre_classifier|qa_outputs|\w*bert\w*|electra|gpt_neox)$/;

/** Strings of a printed Python list: `['', 'm', 'm.model']`. */
function pythonList(text: string): readonly string[] {
  return Array.from(text.matchAll(/'([^']*)'|"([^"]*)"/g), (match) => match[1] ?? match[2]);
}

/** Module path from a node's metadata: the innermost module scope (the last entry is the operator). */
export function pathFromMetadata(node: Pick<Node, "metadata">): string | undefined {
  const scopes = node.metadata?.[SCOPES];
  if (scopes === undefined) return undefined;
  return pythonList(scopes).slice(0, -1).at(-1) || undefined;
}

/** Module path from a path-like node name: `/encoder/layer.0/attention/self/query/MatMul_quant`. */
export function pathFromNodeName(name: string): string | undefined {
  if (!name.startsWith("/")) return undefined;
  const parts = name.slice(1).split("/").slice(0, -1);
  return parts.length === 0 || parts.includes("") ? undefined : parts.join(".");
}

/** Suffixes that quantisers and optimisers append to an initializer's name. */
const SUFFIX = /_(quantized|Q[48]|Q4G\d+|transposed|DQ_Q[48]|fp16|scale|zero_point)$/i;

/** Module path from a parameter's name: `bert.pooler.dense.weight_Transposed_quantized`. */
export function pathFromParameter(name: string, parameter: "weight" | "bias"): string | undefined {
  let now = name;
  while (SUFFIX.test(now)) now = now.replace(SUFFIX, "");
  const end = `.${parameter}`;
  if (!now.endsWith(end) || now.includes("::") || now.includes("/")) return undefined;
  return now.slice(0, -end.length).replace(/\.(MatMul|Gemm|Add)$/, "") || undefined;
}

/**
 * The scope of the transformers model in an exported wrapper, with its dot; "" if the model is the root,
 * `undefined` if the metadata does not have it.
 */
export function rootScope(model: Model): string | undefined {
  for (const { metadata } of model.graph.nodes) {
    const classes = metadata?.[CLASSES];
    const scopes = metadata?.[SCOPES];
    if (classes === undefined || scopes === undefined) continue;
    const at = pythonList(classes).findIndex((name) => name.startsWith("transformers."));
    if (at < 0) continue;
    const scope = pythonList(scopes)[at];
    if (scope !== undefined) return scope === "" ? "" : `${scope}.`;
  }
  return undefined;
}

/** Removes wrapper modules that all paths share: by the known root scope, otherwise by known model names. */
export function stripRoot(paths: readonly string[], root: string | undefined): readonly string[] {
  if (root !== undefined) {
    return paths.map((path) => path.startsWith(root) ? path.slice(root.length) : path);
  }
  let now = paths;
  for (;;) {
    const first = now[0]?.split(".")[0];
    if (first === undefined || !now.every((path) => path.startsWith(`${first}.`))) return now;
    const next = now.map((path) => path.slice(first.length + 1));
    const wraps = first === "model" && next.some((path) => TOP.test(path.split(".")[0]));
    if (ROOTS.has(first) && !wraps) return now;
    // Only strip up to a known name: `0.auto_model.encoder…` yes, `net.body…` no.
    if (!next.some((path) => path.split(".").slice(0, 2).some((part) => ROOTS.has(part)))) {
      return now;
    }
    now = next;
  }
}

/**
 * Converts a path from onnxruntime-genai's model builder to Hugging Face's spelling.
 *
 * @param parallel whether attention and feed-forward read the same value, as in Phi, whose output
 *   projection is called `dense`
 */
export function huggingFacePath(path: string, parallel = false): string {
  const named = path.replace(/^(model\.layers\.\d+)\.attn\./, "$1.self_attn.");
  return parallel && named !== path ? named.replace(/\.o_proj$/, ".dense") : named;
}

/** Layer number of a path: the first numbered component below another, as in PEFT. */
export function layerOf(path: string): number | undefined {
  const number = path.split(".").find((part, i) => i > 0 && /^\d+$/.test(part));
  return number === undefined ? undefined : Number(number);
}

/** The last component, which usually selects target modules. */
export function suffixOf(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}
