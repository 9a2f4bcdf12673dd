/** Encodes rows to token ids with their targets. */
import { BadInputError, UsageError } from "../errors.ts";
import type { ChatTemplate } from "./chat_template.ts";
import { classId } from "./labels.ts";
import type { MessagesRow, Row } from "./rows.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A row in the model's form. */
export interface EncodedRow {
  /** Token ids, without padding. */
  readonly ids: Int32Array;
  /** Half-open ranges [start, end) of target positions, flattened and ascending; empty for classes. */
  readonly spans: Int32Array;
  /** The class, for classification. */
  readonly classId?: number;
}

/** An encoded row, and what was cut or left out. */
export interface EncodeResult extends EncodedRow {
  /** Whether the text was longer than the limit. */
  readonly truncated: boolean;
  /** Whether only a chat's last turn is learned, because the template renders earlier ones differently. */
  readonly lastTurnOnly: boolean;
}

/** How rows become tokens. */
export interface EncodeOptions {
  /** Most tokens of a row; longer ones are cut. */
  readonly maxLength: number;
  /** Whether prompts and turns other than the assistant's are left out of the loss; default true. */
  readonly maskPrompt?: boolean;
  /** For classification: ids by class name. */
  readonly classes?: ReadonlyMap<string, number>;
  /** Rows of the model's embedding: larger ids are refused. */
  readonly modelVocabSize?: number;
}

/** Error for chats with a model that has no template. */
export const NO_TEMPLATE = "Cannot read chats: the model has no chat template: put a " +
  "chat_template.jinja into its folder, or use rows of prompt and completion";

/** The parts of a model that encoding needs. */
export interface TextTools {
  readonly tokenizer: Tokenizer;
  /** Absent for base models. */
  readonly template?: ChatTemplate;
}

/**
 * Encodes one row.
 *
 * Prompt and completion follow the model's chat template as a user's and an assistant's turn; the
 * rendered prompt, generation prompt included, is not learned. Without a template they are joined
 * and ended with the end token. In chats, assistant turns are learned, found by rendering the
 * messages before and up to each of them.
 *
 * @param place `file:line`, for messages
 * @throws {BadInputError} if the template or the tokenizer refuses the row
 * @throws {UsageError} for a chat without a template
 */
export function encodeRow(
  tools: TextTools,
  row: Row,
  options: EncodeOptions,
  place: string,
): EncodeResult {
  try {
    const result = encodeByKind(tools, row, options);
    checkIds(result.ids, options);
    return result;
  } catch (error) {
    if (error instanceof BadInputError) {
      throw new BadInputError(`${place}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

function encodeByKind(tools: TextTools, row: Row, options: EncodeOptions): EncodeResult {
  const { tokenizer, template } = tools;
  const { maskPrompt = true, maxLength } = options;
  if (options.classes !== undefined) {
    if (row.kind !== "label") {
      throw new UsageError(
        `Classification needs rows of text and label: current kind is ${row.kind}`,
      );
    }
    const ids = tokenizer.encode(row.text);
    return {
      ids: Int32Array.from(tokenizer.truncate(ids, maxLength)),
      spans: new Int32Array(),
      classId: classId(options.classes, row.label),
      truncated: ids.length > maxLength,
      lastTurnOnly: false,
    };
  }
  switch (row.kind) {
    case "messages":
      return encodeChat(tools, row, options);
    case "completion": {
      if (template !== undefined) {
        const messages = [
          { role: "user", content: row.prompt },
          { role: "assistant", content: row.completion },
        ] as const;
        const prompt = template.render(messages.slice(0, 1), { addGenerationPrompt: true });
        const ids = tokenizer.encode(template.render(messages), { addSpecialTokens: false });
        const start = maskPrompt ? tokenizer.encode(prompt, { addSpecialTokens: false }).length : 0;
        return cut(ids, [[start, ids.length]], maxLength);
      }
      const ids = ended(tokenizer, row.prompt + row.completion);
      const start = maskPrompt ? tokenizer.encode(row.prompt).length : 0;
      return cut(ids, [[start, ids.length]], maxLength);
    }
    case "text":
    case "label": {
      const ids = ended(tokenizer, row.text);
      return cut(ids, [[0, ids.length]], maxLength);
    }
  }
}

/** Encodes a text as a separate document: with the end token, unless the tokenizer adds it. */
function ended(tokenizer: Tokenizer, text: string): number[] {
  const ids = tokenizer.encode(text);
  const { eosId } = tokenizer.info;
  return eosId === undefined || ids[ids.length - 1] === eosId ? ids : [...ids, eosId];
}

function encodeChat(
  { tokenizer, template }: TextTools,
  { messages, firstTarget, tools }: MessagesRow,
  { maskPrompt = true, maxLength }: EncodeOptions,
): EncodeResult {
  if (template === undefined) {
    throw new UsageError(NO_TEMPLATE);
  }
  const full = template.render(messages, { tools });
  const ids = tokenizer.encode(full, { addSpecialTokens: false });
  if (!maskPrompt) return cut(ids, [[0, ids.length]], maxLength);
  const length = (text: string) => tokenizer.encode(text, { addSpecialTokens: false }).length;
  const spans: [number, number][] = [];
  let lastTurnOnly = false;
  // Turns that begin after the cut have no targets.
  let behindCut = false;
  messages.forEach((message, i) => {
    if (message.role !== "assistant" || i < firstTarget || message.weight === 0) return;
    const isLast = i === messages.length - 1;
    if (behindCut && !isLast) return;
    const before = template.render(messages.slice(0, i), { tools, addGenerationPrompt: true });
    const upTo = isLast ? full : template.render(messages.slice(0, i + 1), { tools });
    // Some templates drop the reasoning of earlier turns: the beginning of the chat is then rendered
    // differently.
    if (!isLast && !(full.startsWith(before) && full.startsWith(upTo))) lastTurnOnly = true;
    else {
      const start = length(before);
      behindCut = start >= maxLength;
      if (!behindCut) spans.push([start, isLast ? ids.length : length(upTo)]);
    }
  });
  return { ...cut(ids, spans, maxLength), lastTurnOnly };
}

function cut(
  ids: readonly number[],
  spans: readonly (readonly [number, number])[],
  maxLength: number,
): EncodeResult {
  const length = Math.min(ids.length, maxLength);
  const kept = spans
    .map(([start, end]) => [start, Math.min(end, length)])
    .filter(([start, end]) => start < end);
  return {
    ids: Int32Array.from(ids.slice(0, length)),
    spans: Int32Array.from(kept.flat()),
    truncated: ids.length > maxLength,
    lastTurnOnly: false,
  };
}

function checkIds(ids: Int32Array, { modelVocabSize }: EncodeOptions): void {
  if (modelVocabSize === undefined) return;
  const wrong = ids.find((id) => id >= modelVocabSize);
  if (wrong !== undefined) {
    throw new BadInputError(
      `the tokenizer gives an id that the model has no score for: it scores ${modelVocabSize}: ` +
        `current value is ${wrong}: tokenizer.json belongs to another model, or the model is no ` +
        "language model",
    );
  }
}

/** Number of target positions: those of the spans, except position 0, which nothing predicts. */
export function targetCount({ ids, spans, classId }: EncodedRow): number {
  if (classId !== undefined) return ids.length > 0 ? 1 : 0;
  let count = 0;
  for (let i = 0; i < spans.length; i += 2) count += spans[i + 1] - Math.max(1, spans[i]);
  return count;
}
