/** The shapes of training data: kinds of rows, and detection of a data set's shape. */
import { BadInputError, type NameParameter } from "../errors.ts";
import { describe, type JsonObject, textIn } from "./json.ts";
import { type Message, parseMessages } from "./messages.ts";

/** Kind of the rows of a data set. */
export type RowKind = "messages" | "completion" | "text" | "label";

/** A chat. Losses count assistant turns at or after message `firstTarget`. */
export interface MessagesRow {
  /** A chat. */
  readonly kind: "messages";
  /** All turns, in order. */
  readonly messages: readonly Message[];
  /** Index of the first turn that can count in the loss. */
  readonly firstTarget: number;
  /** Tool descriptions for the chat template. */
  readonly tools?: readonly unknown[];
}

/** A prompt and its completion. */
export interface CompletionRow {
  /** A prompt and its completion. */
  readonly kind: "completion";
  /** The text that is given. */
  readonly prompt: string;
  /** The text to learn. */
  readonly completion: string;
}

/** Plain text, learned as a whole. */
export interface TextRow {
  /** Plain text, learned as a whole. */
  readonly kind: "text";
  /** The text. */
  readonly text: string;
}

/** A text and the name of its class. */
export interface LabelRow {
  /** A text and the name of its class. */
  readonly kind: "label";
  /** The text to classify. */
  readonly text: string;
  /** Name of its class. */
  readonly label: string;
}

/** A row of a data set. */
export type Row = MessagesRow | CompletionRow | TextRow | LabelRow;

/** Names of columns (JSON keys, CSV headings) that replace the usual ones. */
export interface ColumnNames {
  /** Field with the messages. */
  readonly messages?: string;
  /** Field with the prompt. */
  readonly prompt?: string;
  /** Field with the completion. */
  readonly completion?: string;
  /** Field with plain text. */
  readonly text?: string;
  /** Field with the class. */
  readonly label?: string;
}

/** Task of the data; a row with a text and a label fits both. */
export type Task = "causal" | "classification";

/** A kind of rows with its columns. */
export interface RowShape {
  readonly kind: RowKind;
  readonly columns: ColumnNames;
}

const LABELS = ["label", "category", "intent", "class"];
const TEXTS = ["text", "sentence", "utterance", "question", "query", "content"];

/**
 * Finds the shape of a data set from its first row's column names.
 *
 * @param present column names in the data
 * @param place file and line for messages
 * @param chosen the user's choice of columns and kind, which wins
 * @throws {BadInputError} if there is no known shape, or not the chosen one
 */
export function findShape(
  present: readonly string[],
  place: string,
  chosen: { readonly columns?: ColumnNames; readonly kind?: RowKind; readonly task?: Task } = {},
): RowShape {
  const { columns = {}, kind, task } = chosen;
  const has = new Set(present);
  for (const name of Object.values(columns)) {
    if (name !== undefined && !has.has(name)) {
      throw new BadInputError(`${place}: there is no column "${name}": ${listed(present)}`);
    }
  }
  const find = (named: string | undefined, usual: readonly string[]) =>
    named ?? usual.find((name) => has.has(name));
  const messages = find(columns.messages, ["messages"]);
  const prompt = find(columns.prompt, ["prompt"]);
  const completion = find(columns.completion, ["completion"]);
  const label = find(columns.label, LABELS);
  // A prompt column may hold the texts to classify: --prompt-feature names it then.
  const text = find(columns.text ?? (label === undefined ? undefined : columns.prompt), TEXTS);
  const shapes: RowShape[] = [];
  if (messages !== undefined) shapes.push({ kind: "messages", columns: { messages } });
  if (prompt !== undefined && completion !== undefined) {
    shapes.push({ kind: "completion", columns: { prompt, completion } });
  }
  if (text !== undefined && label !== undefined) {
    shapes.push({ kind: "label", columns: { text, label } });
  }
  if (text !== undefined) shapes.push({ kind: "text", columns: { text } });
  const fits = shapes.filter((shape) =>
    (kind === undefined || shape.kind === kind) &&
    (task === undefined || (shape.kind === "label") === (task === "classification"))
  );
  if (fits.length > 0) return fits[0];
  const wanted = (name: NameParameter) =>
    kind !== undefined
      ? `as "${kind}" rows`
      : task === "classification"
      ? `for classification, which needs a text and a label (text,label; ${
        name("labelColumn")
      } names another)`
      : "as messages, prompt and completion, text, or text and label";
  throw new BadInputError((name) =>
    `${place}: cannot read the data ${wanted(name)}: ${listed(present)}`
  );
}

function listed(names: readonly string[]): string {
  return `its columns are ${names.slice(0, 20).map(describe).join(", ")}`;
}

/**
 * Parses one row of a known shape.
 *
 * @param place file and line for messages
 * @throws {BadInputError} if a column is missing or of another type
 */
export function parseRow(fields: JsonObject, shape: RowShape, place: string): Row {
  const { kind, columns } = shape;
  switch (kind) {
    case "messages": {
      const messages = parseMessages(required(fields, columns.messages!, shape, place), place);
      const { tools } = fields;
      if (tools === undefined || tools === null) return { kind, messages, firstTarget: 0 };
      if (!Array.isArray(tools)) {
        throw new BadInputError(
          `${place}: "tools" must be an array: current value is ${describe(tools)}`,
        );
      }
      return { kind, messages, firstTarget: 0, tools };
    }
    case "completion": {
      const prompt = required(fields, columns.prompt!, shape, place);
      const completion = required(fields, columns.completion!, shape, place);
      if (Array.isArray(prompt) && Array.isArray(completion)) {
        const before = parseMessages(prompt, place);
        const messages = [...before, ...parseMessages(completion, place)];
        return { kind: "messages", messages, firstTarget: before.length };
      }
      return {
        kind,
        prompt: textIn(prompt, columns.prompt!, place),
        completion: textIn(completion, columns.completion!, place),
      };
    }
    case "text":
      return {
        kind,
        text: textIn(required(fields, columns.text!, shape, place), columns.text!, place),
      };
    case "label":
      return {
        kind,
        text: textIn(required(fields, columns.text!, shape, place), columns.text!, place),
        label: labelIn(required(fields, columns.label!, shape, place), columns.label!, place),
      };
  }
}

function required(fields: JsonObject, name: string, { kind }: RowShape, place: string): unknown {
  if (Object.hasOwn(fields, name)) return fields[name];
  throw new BadInputError(
    `${place}: the row has no "${name}" though the data set began with ${kind} rows: ` +
      listed(Object.keys(fields)),
  );
}

function labelIn(value: unknown, name: string, place: string): string {
  if (typeof value === "number" && Number.isSafeInteger(value)) return String(value);
  if (typeof value === "boolean") return String(value);
  const label = textIn(value, name, place).trim();
  if (label === "") throw new BadInputError(`${place}: "${name}" is empty`);
  return label;
}
