/** Where models keep their chat template. */
import { join } from "@std/path";
import type { ChatTemplateFile } from "../data/chat_template.ts";
import { isObject } from "../data/json.ts";
import { parseJsonFile } from "../data/tokenizer_json.ts";
import { BadInputError } from "../errors.ts";

/**
 * The chat template: `chat_template.jinja`, else `chat_template` of `tokenizer_config.json` or of
 * `chat_template.json`. Of several named ones the one named "default" counts.
 *
 * @returns `undefined` for a base model, which has none
 * @throws {BadInputError} for a template that is no text
 */
export function findChatTemplate(
  folder: string,
  read: (path: string) => Uint8Array | undefined,
  tokenizerConfig: Uint8Array | undefined,
): ChatTemplateFile | undefined {
  const path = join(folder, "chat_template.jinja");
  const file = read(path);
  if (file !== undefined) return { name: path, text: decode(file, path) };
  const configPath = join(folder, "tokenizer_config.json");
  const config = tokenizerConfig && templateIn(tokenizerConfig, configPath);
  if (config !== undefined) return config;
  const jsonPath = join(folder, "chat_template.json");
  const json = read(jsonPath);
  return json && templateIn(json, jsonPath);
}

function templateIn(bytes: Uint8Array, path: string): ChatTemplateFile | undefined {
  const { chat_template: entry } = parseJsonFile(bytes, path);
  if (entry === undefined || entry === null) return undefined;
  if (typeof entry === "string") return { name: path, text: entry };
  if (Array.isArray(entry)) {
    const named = entry.filter(isObject).find(({ name }) => name === "default");
    if (typeof named?.template === "string") return { name: path, text: named.template };
  }
  throw new BadInputError(
    `${path}: "chat_template" must be a text, or a list with one named "default"`,
  );
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new BadInputError(`${path} is not UTF-8`);
  }
}
