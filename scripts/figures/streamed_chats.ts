/** Chats with a server of OpenAI's dialect, streamed and timed. */

export interface StreamedChat {
  /** Milliseconds from the request to the first piece of text. */
  readonly firstMs: number;
  /** When the first and the last piece of text came, in milliseconds of the clock of `performance`. */
  readonly first: number;
  readonly last: number;
  /** As the server counts them. */
  readonly promptTokens: number;
  readonly tokens: number;
}

/**
 * Sends a message and reads the answer to its end, of greedy tokens that are never the end of the answer.
 *
 * @param url of the server, without a slash at the end
 * @param body more of the request
 */
export async function streamedChat(
  url: string,
  text: string,
  tokens: number,
  body: object = {},
): Promise<StreamedChat> {
  const start = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      messages: [{ role: "user", content: text }],
      max_tokens: tokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      logit_bias: NO_END,
      ...body,
    }),
  });
  if (!response.ok) throw new Error(await response.text());
  let [first, last]: (number | undefined)[] = [];
  let counts: Record<string, number> = {};
  for await (const event of eventsOf(response)) {
    const now = performance.now();
    if (event.choices?.[0]?.delta?.content) {
      first ??= now;
      last = now;
    }
    if (event.usage) counts = event.usage;
  }
  if (first === undefined || last === undefined) throw new Error("The answer has no text");
  const { prompt_tokens: promptTokens, completion_tokens: counted } = counts;
  return { firstMs: first - start, first, last, promptTokens, tokens: counted };
}

/** Ends of an answer in SmolLM2's vocabulary: `<|endoftext|>` and `<|im_end|>`. */
const NO_END = { 0: -100, 2: -100 };

/** What is used of a piece of an answer. */
interface ChatEvent {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: Record<string, number> | null;
}

async function* eventsOf(response: Response): AsyncGenerator<ChatEvent> {
  let text = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (text + piece).split("\n\n");
    text = events.pop()!;
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

/** Answers that were generated at the same time. */
export interface ChatsAtOnce {
  /** Of all answers, from the first token of any to the last of all; the first ones do not count. */
  readonly tokensPerSecond: number;
  readonly chats: readonly StreamedChat[];
}

/** Sends several messages at the same time. */
export async function chatsAtOnce(
  url: string,
  texts: readonly string[],
  tokens: number,
): Promise<ChatsAtOnce> {
  const chats = await Promise.all(texts.map((text) => streamedChat(url, text, tokens)));
  const begin = Math.min(...chats.map(({ first }) => first));
  const end = Math.max(...chats.map(({ last }) => last));
  const counted = chats.reduce((sum, chat) => sum + chat.tokens - 1, 0);
  return { tokensPerSecond: counted * 1000 / (end - begin), chats };
}
