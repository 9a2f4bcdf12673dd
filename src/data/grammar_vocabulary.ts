/** A tokenizer's vocabulary as grammars need it: the text of every token, as its file spells it. */

/** How the file spells bytes that are no characters. */
export type SpellingKind = "byte_level" | "byte_fallback" | "raw";

export interface GrammarVocabulary {
  /** By id; empty for special tokens, which no grammar allows. */
  readonly tokens: readonly string[];
  readonly kind: SpellingKind;
  /** Tokens that end a text: allowed where the grammar is complete. */
  readonly endIds: readonly number[];
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}

/**
 * @param json contents of `tokenizer.json`, which the tokenizer has accepted
 * @param vocabulary ids by token
 */
export function grammarVocabulary(
  json: Readonly<Record<string, unknown>>,
  vocabulary: ReadonlyMap<string, number>,
  endIds: readonly number[],
): GrammarVocabulary {
  const tokens: string[] = [];
  for (const [token, id] of vocabulary) tokens[id] = token;
  const added = (json.added_tokens ?? []) as readonly AddedToken[];
  for (const { id, content, special } of added) tokens[id] = special === true ? "" : content;
  return {
    tokens: Array.from(tokens, (token) => token ?? ""),
    kind: kindOf(JSON.stringify([json.decoder ?? null, json.pre_tokenizer ?? null])),
    endIds,
  };
}

function kindOf(parts: string): SpellingKind {
  if (parts.includes('"ByteLevel"')) return "byte_level";
  return parts.includes('"ByteFallback"') ? "byte_fallback" : "raw";
}
