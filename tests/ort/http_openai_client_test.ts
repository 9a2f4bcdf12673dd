import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import OpenAI from "openai";
import { serveTiny, type TestServer } from "../helpers/http_server.ts";

const LLAMA = "tiny-llama-genai-fp32";

const clientOf = ({ url }: TestServer, apiKey = "none") =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });

const MESSAGES = [
  { role: "system" as const, content: "Be brief." },
  { role: "user" as const, content: [{ type: "text" as const, text: "turn on the light" }] },
];

Deno.test("openai's client: a chat is what InferenceModel.chat() answers, whole and streamed", async () => {
  await using server = await serveTiny();
  const client = clientOf(server);
  const expected = await server.model.chat([
    { role: "system", content: "Be brief." },
    { role: "user", content: "turn on the light" },
  ], { maxTokens: 12, temperature: 0 });
  const request = { model: LLAMA, messages: MESSAGES, max_tokens: 12, temperature: 0 };
  const whole = await client.chat.completions.create(request);
  assertEquals(whole.object, "chat.completion");
  assertEquals(whole.choices.map(({ message }) => message.content), [expected.text]);
  assertEquals(whole.choices[0].finish_reason, expected.finishReason as "stop" | "length");
  assertEquals(whole.usage?.prompt_tokens, expected.promptTokens);
  assertEquals(whole.usage?.completion_tokens, expected.ids.length);

  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  const reasons = [];
  let usage;
  for await (const { choices, usage: told } of stream) {
    text += choices[0]?.delta.content ?? "";
    if (choices[0]?.finish_reason) reasons.push(choices[0].finish_reason);
    usage = told ?? usage;
  }
  assertEquals([text, reasons], [expected.text, [expected.finishReason]]);
  assertEquals(usage, whole.usage);
  assertEquals(server.failures, []);
});

Deno.test("openai's client: a seed gives the same draws again, n answers differ, stop ends them", async () => {
  await using server = await serveTiny();
  const client = clientOf(server);
  const ask = async (more: { seed?: number; n?: number; stop?: string }) => {
    const { choices } = await client.chat.completions.create({
      model: LLAMA,
      messages: MESSAGES,
      max_tokens: 16,
      temperature: 1,
      top_p: 0.95,
      ...more,
    });
    return choices.map(({ message }) => message.content);
  };
  const three = await ask({ seed: 7, n: 3 });
  assertEquals(await ask({ seed: 7, n: 3 }), three);
  assertEquals(new Set(three).size, 3);
  assertEquals(await ask({ seed: 8 }), [three[1]]);
  const stop = three[0]!.slice(4, 7);
  assertEquals(await ask({ seed: 7, stop }), [three[0]!.slice(0, three[0]!.indexOf(stop))]);
});

Deno.test("openai's client: penalties and biases change what is generated", async () => {
  await using server = await serveTiny();
  const client = clientOf(server);
  const tokens = async (more: object) => {
    const { choices } = await client.completions.create({
      model: LLAMA,
      prompt: "turn on the light",
      max_tokens: 24,
      temperature: 0,
      logprobs: 0,
      ...more,
    });
    return choices[0].logprobs!.tokens!;
  };
  const repeats = (list: readonly string[]) => list.length - new Set(list).size;
  const plain = await tokens({});
  const varied = await tokens({ frequency_penalty: 2, presence_penalty: 2 });
  assert(repeats(varied) < repeats(plain), `${repeats(varied)} of ${repeats(plain)}`);
  assertEquals(new Set(await tokens({ logit_bias: { 300: 100 } })).size, 1);
});

Deno.test("openai's client: log-probabilities are of the tokens of the text, whole and streamed", async () => {
  await using server = await serveTiny();
  const client = clientOf(server);
  const request = {
    model: LLAMA,
    messages: MESSAGES,
    max_tokens: 10,
    temperature: 0,
    logprobs: true,
    top_logprobs: 3,
  };
  const { choices: [{ message, logprobs }] } = await client.chat.completions.create(request);
  const content = logprobs!.content!;
  assertEquals(content.map(({ token }) => token).join(""), message.content);
  for (const { token, logprob, top_logprobs: top } of content) {
    assertEquals([top.length, top[0].token], [3, token]);
    assertAlmostEquals(top[0].logprob, logprob);
    assert(top[0].logprob >= top[1].logprob && logprob <= 0);
  }
  const streamed = [];
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
    streamed.push(...chunk.choices[0]?.logprobs?.content ?? []);
  }
  // A beginning that was read before is read in other pieces, and sums round differently.
  const rounded = (tokens: typeof content) =>
    tokens.map(({ token, logprob }) => [token, logprob.toFixed(4)]);
  assertEquals(rounded(streamed), rounded(content));
});

Deno.test("openai's client: completions continue several texts, and token ids", async () => {
  await using server = await serveTiny();
  const client = clientOf(server);
  const prompts = ["turn on", "the light in the kitchen is"];
  const { choices, usage } = await client.completions.create({
    model: LLAMA,
    prompt: prompts,
    max_tokens: 6,
    temperature: 0,
  });
  const expected = await Promise.all(
    prompts.map((prompt) => server.model.complete(prompt, { maxTokens: 6, temperature: 0 })),
  );
  assertEquals(
    choices.map(({ index, text }) => [index, text]),
    expected.map(({ text }, i) => [i, text]),
  );
  assertEquals(usage!.prompt_tokens, expected[0].promptTokens + expected[1].promptTokens);
  const ids = await client.completions.create({ model: LLAMA, prompt: [5, 9, 77], max_tokens: 2 });
  assertEquals(ids.usage!.prompt_tokens, 3);
});

Deno.test("openai's client: embeddings are InferenceModel.embed()'s, as numbers and as base64", async () => {
  await using server = await serveTiny("default");
  const client = clientOf(server);
  const input = ["turn on the light", "a longer sentence about the weather in the hills", "no"];
  const expected = await Promise.all(input.map((text) => server.model.embed(text)));
  // The client itself asks for base64 where no format is given.
  for (const format of [undefined, "float" as const]) {
    const { data, usage } = await client.embeddings.create({
      model: "default",
      input,
      ...(format === undefined ? {} : { encoding_format: format }),
    });
    assertEquals(data.map(({ index }) => index), [0, 1, 2]);
    data.forEach(({ embedding }, i) => {
      assertEquals(Float32Array.from(embedding), expected[i].vector);
    });
    assertEquals(usage.prompt_tokens, expected.reduce((sum, { tokens }) => sum + tokens, 0));
  }
});

Deno.test("openai's client: models are listed and found", async () => {
  await using server = await serveTiny();
  const client = clientOf(server);
  const listed = [];
  for await (const { id } of client.models.list()) listed.push(id);
  assertEquals(listed, [LLAMA]);
  assertEquals((await client.models.retrieve(LLAMA)).owned_by, "graft");
  await assertRejects(() => client.models.retrieve("other"), OpenAI.NotFoundError);
});

Deno.test("openai's client: refusals are its own errors, and name the parameter", async () => {
  await using server = await serveTiny(LLAMA, { keys: ["secret"] });
  const ask = (client: OpenAI, more: object) =>
    client.chat.completions.create({ model: LLAMA, messages: MESSAGES, max_tokens: 2, ...more });
  const refused = async (more: object): Promise<unknown[]> => {
    const error = await assertRejects(
      () => ask(clientOf(server, "secret"), more),
      OpenAI.APIError,
    );
    return [error.status, error.param, error.code];
  };
  await ask(clientOf(server, "secret"), {});
  await assertRejects(() => ask(clientOf(server, "wrong"), {}), OpenAI.AuthenticationError);
  assertEquals(await refused({ model: "gpt-4" }), [404, "model", "model_not_found"]);
  assertEquals(await refused({ temperature: -1 }), [400, "temperature", null]);
  assertEquals(await refused({ n: 1000 }), [400, "n", null]);
  assertEquals(await refused({ messages: [] }), [400, "messages", null]);
  assertEquals(await refused({ tools: [{ type: "function" }] }), [400, "tools", null]);
  assertEquals(
    await refused({ messages: [{ role: "user", content: "word ".repeat(2000) }] }),
    [400, null, "context_length_exceeded"],
  );
  assertEquals(
    await refused({ stream: true, messages: [{ role: "user", content: "word ".repeat(2000) }] }),
    [400, null, "context_length_exceeded"],
  );
  const embedding = await assertRejects(
    () => clientOf(server, "secret").embeddings.create({ model: LLAMA, input: "a" }),
    OpenAI.BadRequestError,
  );
  assertEquals(embedding.code, "unsupported_model");
});

Deno.test("openai's client: response_format keeps answers to a JSON schema, or to any object", async () => {
  await using server = await serveTiny();
  const client = clientOf(server);
  const schema = {
    type: "object",
    properties: {
      on: { type: "boolean" },
      room: { enum: ["kitchen", "hall"] },
      level: { type: "integer", minimum: 0, maximum: 9 },
    },
    required: ["on", "room", "level"],
    additionalProperties: false,
  };
  const ask = (temperature: number, seed: number, response_format: object) =>
    client.chat.completions.create({
      model: LLAMA,
      messages: MESSAGES,
      max_tokens: 100,
      temperature,
      seed,
      n: 2,
      response_format: response_format as { type: "json_object" },
    });
  const format = { type: "json_schema", json_schema: { name: "lamp", schema } };
  for (const seed of [1, 2, 3]) {
    const { choices } = await ask(1, seed, format);
    for (const { message, finish_reason } of choices) {
      assert(!message.content!.includes("\n"));
      const found = JSON.parse(message.content!);
      assertEquals(Object.keys(found), ["on", "room", "level"]);
      assert(schema.properties.room.enum.includes(found.room), found.room);
      assertEquals([typeof found.on, Number.isInteger(found.level)], ["boolean", true]);
      assertEquals(finish_reason, "stop");
    }
  }
  const { choices: [{ message }] } = await ask(1, 5, { type: "json_object" });
  assert(message.content!.startsWith("{"));
  const bad = { type: "json_schema", json_schema: { name: "x", schema: { type: "nonsense" } } };
  const error = await assertRejects(() => ask(0, 1, bad), OpenAI.BadRequestError);
  assertStringIncludes(error.message, "The JSON schema cannot be used");
  // A schema that multiplies ends its own request only.
  const nested = (depth: number): object =>
    depth === 0 ? { type: "string", minLength: 5000, maxLength: 100_000 } : {
      type: "array",
      minItems: 2000,
      maxItems: 90_000,
      items: { anyOf: [nested(depth - 1), nested(depth - 1)] },
    };
  const heavy = { type: "json_schema", json_schema: { name: "x", schema: nested(7) } };
  await ask(0, 1, heavy).then(() => {}, (failure) => assert(failure instanceof OpenAI.APIError));
  assertEquals((await ask(1, 1, format)).choices.length, 2);
  assertEquals(server.failures, []);
});
