/** Names of the layers of queries, keys and values in a fused attention's weight. */

/** Names of the three layers: a module path, and each one's name below it. */
export interface AttentionNames {
  readonly parent: string;
  readonly parts: readonly [query: string, key: string, value: string];
}

/** Names of the layer after attention, and of the three before it, by model family. */
const FAMILIES: readonly (readonly [output: string, parent: string, parts: string])[] = [
  ["attention.output.dense", "attention.self", "query key value"],
  ["attention.out_lin", "attention", "q_lin k_lin v_lin"],
  ["attention.dense", "attention", "query key value"],
  ["attention.attn.o", "attention.attn", "q k v"],
  ["self_attn.out_proj", "self_attn", "q_proj k_proj v_proj"],
  ["self_attn.o_proj", "self_attn", "q_proj k_proj v_proj"],
];

/**
 * The names of the three layers in a checkpoint.
 *
 * @param output path of the layer that multiplies attention's result, if the file names it
 * @param fused the attention's path according to its position in the graph
 */
export function attentionNames(output: string | undefined, fused: string): AttentionNames {
  for (const [end, parent, parts] of FAMILIES) {
    if (output !== end && !output?.endsWith(`.${end}`)) continue;
    return { parent: output.slice(0, -end.length) + parent, parts: three(parts) };
  }
  const parent = fused.replace(/\.qkv(_proj)?$/, "");
  return {
    parent,
    parts: three(parent.endsWith("attention.self") ? "query key value" : "q_proj k_proj v_proj"),
  };
}

function three(words: string): AttentionNames["parts"] {
  const [query, key, value] = words.split(" ");
  return [query, key, value];
}
