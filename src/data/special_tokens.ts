/** The tokens with a role (beginning, end, padding, …) from a model's configuration files. */
import { isObject, type JsonObject } from "./json.ts";

/** What a special token is for, as configuration files name it. */
export type TokenRole =
  | "bos_token"
  | "eos_token"
  | "pad_token"
  | "unk_token"
  | "sep_token"
  | "cls_token"
  | "mask_token";

const ROLES: readonly TokenRole[] = [
  "bos_token",
  "eos_token",
  "pad_token",
  "unk_token",
  "sep_token",
  "cls_token",
  "mask_token",
];

/** Texts of special tokens by role, such as `eos_token`. */
export type SpecialTokens = Readonly<Partial<Record<TokenRole, string>>>;

/**
 * Reads roles from `tokenizer_config.json`, otherwise from `special_tokens_map.json`. A token is written
 * as its text or as an object with `content`.
 */
export function specialTokensOf(config: JsonObject, map: JsonObject): SpecialTokens {
  const tokens: Partial<Record<TokenRole, string>> = {};
  for (const role of ROLES) {
    const text = contentOf(config[role]) ?? contentOf(map[role]);
    if (text !== undefined) tokens[role] = text;
  }
  return tokens;
}

function contentOf(token: unknown): string | undefined {
  const text = isObject(token) ? token.content : token;
  return typeof text === "string" && text !== "" ? text : undefined;
}
