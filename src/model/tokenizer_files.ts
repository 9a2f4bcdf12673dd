/** Reads a model folder's tokenizer and chat template. */
import { join } from "@std/path";
import type { TextFiles } from "../data/text.ts";
import { BadInputError } from "../errors.ts";
import { findChatTemplate } from "./chat_template_files.ts";
import { readSmallFile } from "../system/small_file.ts";

/** The largest tokenizers in use have 35 MB. */
const MAX_TOKENIZER_BYTES = 64 << 20;

/**
 * The text files of a model folder, unchecked.
 *
 * @throws {BadInputError} where there is no `tokenizer.json`, or the chat template's file is wrong
 * @throws {StorageError} where a file cannot be read
 */
export function readTextFiles(folder: string): TextFiles {
  const tokenizerJson = readSmallFile(join(folder, "tokenizer.json"), MAX_TOKENIZER_BYTES);
  if (tokenizerJson === undefined) {
    throw new BadInputError(
      `${folder} has no tokenizer.json: write one with transformers: ` +
        `AutoTokenizer.from_pretrained(MODEL).save_pretrained(${JSON.stringify(folder)})`,
    );
  }
  const tokenizerConfig = readSmallFile(join(folder, "tokenizer_config.json"));
  return {
    name: folder,
    tokenizerJson,
    tokenizerConfig,
    specialTokensMap: readSmallFile(join(folder, "special_tokens_map.json")),
    chatTemplate: findChatTemplate(folder, (path) => readSmallFile(path), tokenizerConfig),
  };
}

/** Bytes of the folder's `tokenizer.json`. */
export function tokenizerSize(folder: string): number {
  return Deno.statSync(join(folder, "tokenizer.json")).size;
}
