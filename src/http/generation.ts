/** Generates the answers to a request: as many as it asks for, each with draws of its own. */
import type { Message } from "../data/mod.ts";
import type { GeneratedText, TextOptions } from "../serve/text_generator.ts";
import type { OnText } from "../serve/generate.ts";
import type { InferenceModel } from "../tasks/inference_model.ts";
import type { Sampling } from "./schemas/common.ts";
import type { ServerParts } from "./server_parts.ts";

/** What is answered: a chat, a text, or token ids. */
export type Prompt =
  | { readonly messages: readonly Message[] }
  | { readonly text: string | readonly number[] };

/** What answers have in common. */
export interface AnswerOptions extends TextOptions {
  /** A JSON schema that they keep to. */
  readonly schema?: string;
}

/** How an API counts. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** OpenAI's default. */
const TEMPERATURE = 1;

/**
 * A request's sampling in graft's words.
 *
 * @param topLogprobs as `GenerateOptions` has it
 */
export function textOptions(
  request: Sampling,
  topLogprobs: number | undefined,
  { maxTokens }: Pick<ServerParts, "maxTokens">,
): TextOptions {
  const { stop, logit_bias: bias } = request;
  return {
    maxTokens: request.max_tokens ?? maxTokens,
    temperature: request.temperature ?? TEMPERATURE,
    // 0 is OpenAI's word for the likeliest token alone.
    topP: request.top_p === 0 ? Number.MIN_VALUE : request.top_p ?? undefined,
    topK: Math.max(0, request.top_k ?? 0),
    frequencyPenalty: request.frequency_penalty ?? undefined,
    presencePenalty: request.presence_penalty ?? undefined,
    repetitionPenalty: request.repetition_penalty ?? undefined,
    logitBias: bias ? new Map(Object.entries(bias).map(([id, value]) => [+id, value])) : undefined,
    stop: typeof stop === "string" ? [stop] : stop ?? undefined,
    seed: request.seed ?? crypto.getRandomValues(new Uint32Array(1))[0],
    topLogprobs,
  };
}

/**
 * Generates `count` answers to each prompt, in the order of the prompts.
 *
 * @param onText gets pieces of each answer, by its number
 * @throws as `InferenceModel.chat()`; the other answers end then
 */
export async function generateAnswers(
  model: InferenceModel,
  prompts: readonly Prompt[],
  count: number,
  { schema, ...options }: AnswerOptions,
  onText?: (answer: number, ...piece: Parameters<OnText>) => ReturnType<OnText>,
): Promise<readonly GeneratedText[]> {
  const failed = new AbortController();
  const signals = [failed.signal, ...(options.signal === undefined ? [] : [options.signal])];
  const signal = AbortSignal.any(signals);
  const seed = options.seed ?? 0;
  const work = prompts.flatMap((prompt, p) =>
    Array.from({ length: count }, async (_, i) => {
      const answer = p * count + i;
      const told: OnText | undefined = onText && ((...piece) => onText(answer, ...piece));
      using grammar = schema === undefined ? undefined : await model.openGrammar(schema);
      const own = { ...options, signal, seed: seed + i, grammar };
      return await ("messages" in prompt
        ? model.chat(prompt.messages, own, told)
        : model.complete(prompt.text, own, told));
    })
  );
  for (const answer of work) answer.catch(() => failed.abort());
  const settled = await Promise.allSettled(work);
  return settled.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

/**
 * Tokens of a request.
 *
 * @param count answers to each prompt
 */
export function usageOf(answers: readonly GeneratedText[], count: number): Usage {
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
  const prompt_tokens = sum(
    answers.filter((_, i) => i % count === 0).map(({ promptTokens }) => promptTokens),
  );
  const completion_tokens = sum(answers.map(({ ids }) => ids.length));
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}
