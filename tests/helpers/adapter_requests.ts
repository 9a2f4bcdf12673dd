/** Requests about adapters to a server of this process. */
import { assertEquals } from "@std/assert";
import { postJson, type TestServer } from "./http_server.ts";

/** Asks for an adapter to be loaded. */
export const loadLora = (server: TestServer, name: string, path: string, more: object = {}) =>
  postJson(`${server.url}/v1/load_lora_adapter`, { lora_name: name, lora_path: path, ...more });

/** What a model continues a text with, and the generation of its adapter. */
export async function complete(server: TestServer, model: string, more: object = {}) {
  const { status, json } = await postJson(`${server.url}/v1/completions`, {
    ...{ model, prompt: "turn on the light", max_tokens: 16, temperature: 0, ...more },
  });
  assertEquals(status, 200, JSON.stringify(json));
  const { choices, adapter_generation: generation } = json as {
    choices: { text: string }[];
    adapter_generation?: number;
  };
  return { text: choices[0].text, generation };
}
