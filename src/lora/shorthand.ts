/** Shorthands for target modules, over the names in different model families. */
import { ownValue } from "../records.ts";

const NAMES = {
  q: "q_proj query q_lin Wq wq",
  k: "k_proj key k_lin Wk wk",
  v: "v_proj value v_lin Wv wv",
  o: "o_proj out_lin attention.output.dense attention.dense self_attn.dense self_attn.out_proj attn.c_proj",
  qkv: "qkv_proj Wqkv query_key_value c_attn qkv",
  gate: "gate_proj w1",
  up: "up_proj w3 fc1 lin1 intermediate.dense c_fc dense_h_to_4h gate_up_proj ffn",
  down: "down_proj w2 fc2 lin2 output.dense mlp.c_proj dense_4h_to_h ffn_output",
} as const;

const GROUPS: Readonly<Record<string, readonly (keyof typeof NAMES)[]>> = {
  attention: ["q", "k", "v", "o", "qkv"],
  mlp: ["gate", "up", "down"],
};

/** The shorthands that stand for several module names. */
export const SHORTHANDS: readonly string[] = [
  ...Object.keys(NAMES),
  ...Object.keys(GROUPS),
  "all-linear",
];

/** Whether a shorthand (other than `all-linear`) covers a module path. */
export function shorthandMatches(word: string, path: string): boolean {
  const keys = ownValue(GROUPS, word) ??
    (Object.hasOwn(NAMES, word) ? [word as keyof typeof NAMES] : []);
  return keys.some((key) =>
    NAMES[key].split(" ").some((name) => {
      // BERT's attention output has the same ending as its feed-forward output.
      if (name === "output.dense" && path.endsWith("attention.output.dense")) return false;
      return path === name || path.endsWith(`.${name}`);
    })
  );
}
