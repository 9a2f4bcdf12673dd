/**
 * Tries tools for JavaScript against a server: `node serve_tools.mjs URL KEY MODEL`, in a folder where
 * npm has installed them. Prints a line for each thing that a tool got. Packages that were tried:
 * ai@6.0.326 @ai-sdk/openai-compatible@2.0.92 @langchain/openai@1.5.8 @langchain/core@1.4.0 zod@4.6.7
 */
import { createRequire } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [url, apiKey, model] = process.argv.slice(2);
const { resolve } = createRequire(`${process.cwd()}/`);
const installed = (name) => import(pathToFileURL(resolve(name)).href);

const { generateObject, generateText, streamText } = await installed("ai");
const { createOpenAICompatible } = await installed("@ai-sdk/openai-compatible");
const { ChatOpenAI } = await installed("@langchain/openai");
const { z } = await installed("zod");

const baseURL = `${url}/v1`;
const prompt = "turn on the light";
const said = (tool, text) => console.log(`${tool}: ${JSON.stringify(text)}`);

async function textOf(stream, piece = (part) => part) {
  let text = "";
  for await (const part of stream) text += piece(part);
  return text;
}

const light = z.object({ room: z.enum(["hall", "kitchen"]), on: z.boolean() });

const provider = createOpenAICompatible({
  name: "graft",
  baseURL,
  apiKey,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const asked = { model: provider(model), prompt, maxOutputTokens: 6 };
said("ai", (await generateText(asked)).text);
said("ai streamed", await textOf(streamText(asked).textStream));
said("ai object", (await generateObject({ model: provider(model), prompt, schema: light })).object);

const chat = new ChatOpenAI({ model, apiKey, maxTokens: 6, configuration: { baseURL } });
said("langchain.js", (await chat.invoke(prompt)).content);
said("langchain.js streamed", await textOf(await chat.stream(prompt), ({ content }) => content));
const free = new ChatOpenAI({ model, apiKey, configuration: { baseURL } });
said(
  "langchain.js object",
  await free.withStructuredOutput(light, { method: "jsonSchema" }).invoke(prompt),
);
