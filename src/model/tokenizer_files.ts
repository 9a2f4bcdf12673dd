/** Reads a model folder's tokenizer and chat template. */
import { join } from "@std/path";
import type { TextFiles } from "../data/text.ts";
import { BadInputError, StorageError } from "../errors.ts";
import { findChatTemplate } from "./chat_template_files.ts";

/** Larger files are no tokenizer's: the largest in use have 35 MB. */
const MAX_BYTES = 256 << 20;

/**
 * The text files of a model folder, unchecked.
 *
 * @throws {BadInputError} where there is no `tokenizer.json`, or the chat template's file is wrong
 * @throws {StorageError} where a file cannot be read
 */
export function readTextFiles(folder: string): TextFiles {
  const tokenizerJson = readOptional(join(folder, "tokenizer.json"));
  if (tokenizerJson === undefined) {
    throw new BadInputError(
      `${folder} has no tokenizer.json: write one with transformers: ` +
        `AutoTokenizer.from_pretrained(MODEL).save_pretrained(${JSON.stringify(folder)})`,
    );
  }
  const tokenizerConfig = readOptional(join(folder, "tokenizer_config.json"));
  return {
    name: folder,
    tokenizerJson,
    tokenizerConfig,
    specialTokensMap: readOptional(join(folder, "special_tokens_map.json")),
    chatTemplate: findChatTemplate(folder, readOptional, tokenizerConfig),
  };
}

/** A file's bytes, `undefined` where it does not exist. */
function readOptional(path: string): Uint8Array | undefined {
  try {
    const { size, isFile } = Deno.statSync(path);
    if (!isFile) throw new BadInputError(`${path} is no file`);
    if (size > MAX_BYTES) {
      throw new BadInputError(
        `${path} may have at most ${MAX_BYTES} bytes: current value is ${size}`,
      );
    }
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof BadInputError) throw error;
    throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}
