/** What tools for OpenAI's API send besides what they ask for. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { postJson, serveTiny } from "../helpers/http_server.ts";

const CHAT = {
  messages: [{ role: "user", content: "turn on the light" }],
  max_tokens: 6,
  temperature: 0,
};

const textOf = ({ json }: { json: Record<string, unknown> }) =>
  (json.choices as { message: { content: string } }[])[0].message.content;

Deno.test("parameters of OpenAI's that change no answer are ignored", async () => {
  await using server = await serveTiny();
  const url = `${server.url}/v1/chat/completions`;
  const plain = textOf(await postJson(url, CHAT));
  for (
    const more of [
      { user: "me", safety_identifier: "me", metadata: { a: "b" }, store: false },
      { service_tier: "auto", prompt_cache_key: "k", prompt_cache_retention: "24h" },
      { reasoning_effort: "low", verbosity: "medium", modalities: ["text"], n: 1 },
      { tools: [], tool_choice: "none", parallel_tool_calls: false },
      { functions: [], function_call: "auto", audio: null, web_search_options: null },
      { prediction: { type: "content", content: "x" }, stream_options: null, logit_bias: {} },
      { response_format: { type: "text" }, logprobs: false, top_logprobs: null, stop: null },
      { max_tokens: null, max_completion_tokens: 6, min_p: 0, repeat_penalty: 1 },
    ]
  ) {
    const answer = await postJson(url, { ...CHAT, ...more });
    assertEquals([answer.status, textOf(answer)], [200, plain], JSON.stringify(more));
  }
});

Deno.test("parameters that would change an answer, and that graft does not have, are refused by name", async () => {
  await using server = await serveTiny();
  const refuse = async (path: string, body: object, more: Record<string, unknown>) => {
    const { status, json } = await postJson(`${server.url}${path}`, { ...body, ...more });
    const { param } = (json.error ?? {}) as { param?: string };
    assertEquals([status, param], [400, Object.keys(more)[0]], JSON.stringify(more));
  };
  for (
    const more of [
      { tools: [{ type: "function", function: { name: "f" } }] },
      { tool_choice: "required" },
      { tool_choice: { type: "function", function: { name: "f" } } },
      { functions: [{ name: "f" }] },
      { function_call: { name: "f" } },
      { modalities: ["text", "audio"] },
      { audio: { voice: "alloy", format: "wav" } },
      { web_search_options: {} },
      { verbosity: "low" },
      { min_p: 0.1 },
      { grammar: 'root ::= "a"' },
      { guided_json: { type: "object" } },
      { ignore_eos: true },
    ]
  ) await refuse("/v1/chat/completions", CHAT, more);
  const completion = { prompt: "turn on", max_tokens: 2 };
  for (const more of [{ echo: true }, { suffix: "." }, { best_of: 2 }, { typical_p: 0.5 }]) {
    await refuse("/v1/completions", completion, more);
  }
});

Deno.test("messages may be in parts, of a developer, and have names", async () => {
  await using server = await serveTiny();
  const url = `${server.url}/v1/chat/completions`;
  const ask = async (messages: object[]) => textOf(await postJson(url, { ...CHAT, messages }));
  const plain = await ask([
    { role: "system", content: "Be brief." },
    { role: "user", content: "turn on the light" },
  ]);
  assertEquals(
    await ask([
      { role: "system", content: [{ type: "text", text: "Be brief." }] },
      {
        role: "user",
        name: "me",
        content: [{ type: "text", text: "turn on " }, { type: "text", text: "the light" }],
      },
    ]),
    plain,
  );
  const developer = [
    { role: "developer", content: "Be brief." },
    { role: "assistant", content: null, refusal: null, tool_calls: [] },
    { role: "user", content: "turn on the light" },
  ];
  assertEquals((await postJson(url, { ...CHAT, messages: developer })).status, 200);
});

Deno.test("top_p 0 takes the likeliest token, as temperature 0 does", async () => {
  await using server = await serveTiny();
  const url = `${server.url}/v1/chat/completions`;
  const likeliest = textOf(await postJson(url, { ...CHAT, max_tokens: 12 }));
  const drawn = { ...CHAT, max_tokens: 12, temperature: 1, seed: 3 };
  assertNotEquals(textOf(await postJson(url, drawn)), likeliest);
  assertEquals(textOf(await postJson(url, { ...drawn, top_p: 0 })), likeliest);
});
