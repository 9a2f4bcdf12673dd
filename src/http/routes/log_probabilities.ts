/** Log-probabilities as OpenAI's two text APIs write them. */
import type { ScoredToken, TokenScores } from "../../serve/log_probabilities.ts";
import type { InferenceModel } from "../../tasks/inference_model.ts";

interface ChatToken {
  readonly token: string;
  readonly logprob: number;
  /** UTF-8 of the token; null for a part of a character. */
  readonly bytes: readonly number[] | null;
}

/** Of `/v1/chat/completions`. */
export interface ChatLogprobs {
  readonly content: readonly (ChatToken & { readonly top_logprobs: readonly ChatToken[] })[];
  readonly refusal: null;
}

/** Of `/v1/completions`. */
export interface CompletionLogprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly number[];
  readonly top_logprobs: readonly Readonly<Record<string, number>>[];
  readonly text_offset: readonly number[];
}

/** @param scores of tokens in their order */
export async function chatLogprobs(
  model: InferenceModel,
  scores: readonly TokenScores[],
): Promise<ChatLogprobs> {
  const textOf = await tokenTexts(model, scores);
  const one = ({ id, logprob }: ScoredToken): ChatToken => ({
    token: textOf(id),
    logprob,
    bytes: textOf(id).includes("\ufffd") ? null : [...new TextEncoder().encode(textOf(id))],
  });
  return {
    content: scores.map((score) => ({ ...one(score), top_logprobs: score.top.map(one) })),
    refusal: null,
  };
}

/**
 * @param scores of tokens in their order
 * @param offset characters of the answer before them
 */
export async function completionLogprobs(
  model: InferenceModel,
  scores: readonly TokenScores[],
  offset = 0,
): Promise<CompletionLogprobs> {
  const textOf = await tokenTexts(model, scores);
  const tokens = scores.map(({ id }) => textOf(id));
  let at = offset;
  return {
    tokens,
    token_logprobs: scores.map(({ logprob }) => logprob),
    top_logprobs: scores.map(({ top }) =>
      Object.fromEntries(top.map(({ id, logprob }) => [textOf(id), logprob]))
    ),
    text_offset: tokens.map((token) => {
      const start = at;
      at += token.length;
      return start;
    }),
  };
}

async function tokenTexts(
  model: InferenceModel,
  scores: readonly TokenScores[],
): Promise<(id: number) => string> {
  const ids = [...new Set(scores.flatMap(({ id, top }) => [id, ...top.map(({ id }) => id)]))];
  const texts = await model.tokenTexts(ids);
  const byId = new Map(ids.map((id, i) => [id, texts[i]]));
  return (id) => byId.get(id)!;
}
