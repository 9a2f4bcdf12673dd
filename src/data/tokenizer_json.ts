/** A model's `tokenizer.json`, checked before the tokenizer library builds tables from it. */
import { BadInputError } from "../errors.ts";
import { describe, isObject, type JsonObject } from "./json.ts";

/** Largest id accepted: the library allocates an array up to it. */
const MAX_ID = 1 << 22;

/** Most tokens and merges accepted: the largest vocabulary in use, XLM-V's, has 901,629. */
const MAX_TOKENS = 1 << 20;
const MAX_MERGES = 2 * MAX_TOKENS;

/**
 * Parses the file's bytes and checks what the library assumes: a model with a vocabulary of whole-number
 * ids, merges, added tokens.
 *
 * @param name the file, for messages
 * @throws {BadInputError} naming the part that is wrong
 */
export function parseTokenizerJson(bytes: Uint8Array, name: string): JsonObject {
  const json = parseJsonFile(bytes, name);
  const fail = (what: string): never => {
    throw new BadInputError(`${name} is not a usable tokenizer: ${what}`);
  };
  const { model } = json;
  if (!isObject(model)) {
    return fail(`"model" must be an object: current value is ${describe(model)}`);
  }
  checkVocabulary(model, fail);
  checkMerges(model, fail);
  const added = json.added_tokens ?? [];
  if (!Array.isArray(added)) return fail(`"added_tokens" must be an array`);
  checkCount("added tokens", added.length, MAX_TOKENS, fail);
  for (const token of added) {
    if (!isObject(token) || typeof token.content !== "string" || token.content === "") {
      return fail(`an added token has no content: ${describe(token)}`);
    }
    checkId(token.id, token.content, fail);
  }
  // The library refuses a file that lacks one of these keys.
  const steps = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  return { ...steps, ...json, added_tokens: added };
}

type Fail = (what: string) => never;

function checkVocabulary(model: JsonObject, fail: Fail): void {
  const { vocab, type } = model;
  if (Array.isArray(vocab)) {
    if (type !== "Unigram" && type !== undefined) fail(`a ${type} vocabulary must be an object`);
    if (vocab.length === 0) fail("its vocabulary is empty");
    checkCount("tokens", vocab.length, MAX_TOKENS, fail);
    for (const entry of vocab) {
      if (Array.isArray(entry) && typeof entry[0] === "string" && Number.isFinite(entry[1])) {
        continue;
      }
      fail(`a Unigram token must be [text, score]: current value is ${describe(entry)}`);
    }
    return;
  }
  if (!isObject(vocab)) {
    fail(`"model.vocab" must be an object: current value is ${describe(vocab)}`);
  }
  if (type === "Unigram") fail(`a Unigram vocabulary must be an array`);
  const entries = Object.entries(vocab as JsonObject);
  checkCount("tokens", entries.length, MAX_TOKENS, fail);
  const seen = new Set<unknown>();
  for (const [token, id] of entries) {
    checkId(id, token, fail);
    if (seen.has(id)) fail(`two tokens have the id ${id}`);
    seen.add(id);
  }
  if (seen.size === 0) fail("its vocabulary is empty");
}

function checkMerges(model: JsonObject, fail: Fail): void {
  if (model.type !== "BPE" && model.merges === undefined) return;
  if (!Array.isArray(model.merges)) fail(`"model.merges" must be an array`);
  checkCount("merges", (model.merges as unknown[]).length, MAX_MERGES, fail);
  for (const merge of model.merges as unknown[]) {
    const parts = typeof merge === "string" ? merge.split(" ") : merge;
    if (Array.isArray(parts) && parts.length === 2 && parts.every((p) => typeof p === "string")) {
      continue;
    }
    fail(`a merge must be two tokens: current value is ${describe(merge)}`);
  }
}

function checkCount(what: string, count: number, most: number, fail: Fail): void {
  if (count > most) fail(`it has ${count} ${what}, and graft accepts at most ${most}`);
}

function checkId(id: unknown, token: string, fail: Fail): void {
  if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= MAX_ID) return;
  fail(
    `the id of ${describe(token)} must be a whole number from 0 to ${MAX_ID}: ` +
      `current value is ${describe(id)}`,
  );
}

/**
 * Parses a file with one JSON object.
 *
 * @throws {BadInputError} for anything else
 */
export function parseJsonFile(bytes: Uint8Array, name: string): JsonObject {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new BadInputError(`${name} is not JSON in UTF-8: ${(error as Error).message}`);
  }
  if (isObject(json)) return json;
  throw new BadInputError(`${name} must hold a JSON object: current value is ${describe(json)}`);
}
