/** What a model folder's configuration files say about lengths and ends of texts. */
import { join } from "@std/path";
import { BadInputError } from "../errors.ts";
import { readSmallText } from "../system/small_file.ts";

export interface GenerationConfig {
  readonly endIds: readonly number[];
  /** Longest sequence, prompt included. */
  readonly maxLength?: number;
}

/**
 * Reads `genai_config.json`, `generation_config.json` and `config.json`, as far as they are there.
 *
 * @throws {BadInputError} for a file that is no JSON object, naming it
 */
export function readGenerationConfig(folder: string): GenerationConfig {
  const genai = objectIn(readJson(join(folder, "genai_config.json")).model);
  const generation = readJson(join(folder, "generation_config.json"));
  const config = readJson(join(folder, "config.json"));
  const endIds = [genai.eos_token_id, generation.eos_token_id, config.eos_token_id]
    .flatMap((value) => Array.isArray(value) ? value : [value])
    .filter((id): id is number => Number.isInteger(id));
  const maxLength = [genai.context_length, config.max_position_embeddings]
    .find((length): length is number => Number.isInteger(length) && (length as number) > 0);
  return { endIds: [...new Set(endIds)], maxLength };
}

type Json = Record<string, unknown>;

const objectIn = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value as Json : {};

function readJson(path: string): Json {
  const text = readSmallText(path);
  if (text === undefined) return {};
  try {
    return objectIn(JSON.parse(text));
  } catch (error) {
    throw new BadInputError(`${path}: it is no JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
