/** Labelled rows, and the JSONL files that graft trains on. */

/**
 * Pairs are prompts with completions, classes texts with labels.
 *
 * @typedef {"pairs" | "classes"} RowKind
 *
 * @typedef {object} RowText
 * @property {string} input
 * @property {string} output
 *
 * @typedef {RowText & { id: number }} Row
 */

/** @type {Readonly<Record<RowKind, { input: string, output: string, inputKey: string, outputKey: string }>>} */
export const KINDS = {
  pairs: {
    input: "Prompt",
    output: "Completion",
    inputKey: "prompt",
    outputKey: "completion",
  },
  classes: { input: "Text", output: "Label", inputKey: "text", outputKey: "label" },
};

/**
 * Whether a row can be trained on.
 *
 * @param {RowText} row
 */
export const isComplete = ({ input, output }) => input.trim() !== "" && output.trim() !== "";

/**
 * Rows as JSONL; those that are not complete are left out.
 *
 * @param {readonly RowText[]} rows
 * @param {RowKind} kind
 */
export function formatRows(rows, kind) {
  const { inputKey, outputKey } = KINDS[kind];
  return rows.filter(isComplete)
    .map(({ input, output }) => JSON.stringify({ [inputKey]: input, [outputKey]: output }) + "\n")
    .join("");
}

/**
 * Reads JSONL.
 *
 * @param {string} text
 * @param {RowKind} kind
 * @returns {{ rows: RowText[], refused: number[] }} with the numbers of the lines that are no such rows
 */
export function parseRows(text, kind) {
  /** @type {RowText[]} */
  const rows = [];
  /** @type {number[]} */
  const refused = [];
  text.replace(/^\ufeff/, "").split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    const row = parseRow(line, kind);
    if (row === undefined) refused.push(i + 1);
    else rows.push(row);
  });
  return { rows, refused };
}

/**
 * @param {string} line
 * @param {RowKind} kind
 * @returns {RowText | undefined}
 */
function parseRow(line, kind) {
  /** @type {any} */
  let value;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { inputKey, outputKey } = KINDS[kind];
  const [input, output] = kind === "pairs" && Array.isArray(value.messages)
    ? turnsOf(value.messages)
    : [value[inputKey], value[outputKey]];
  return typeof input === "string" && typeof output === "string" ? { input, output } : undefined;
}

/**
 * A chat of one question and its answer.
 *
 * @param {any[]} messages
 */
function turnsOf(messages) {
  const roles = messages.map((message) => message?.role).join();
  return roles === "user,assistant" ? messages.map(({ content }) => content) : [];
}

/** Of so many rows, one is held back. */
const HELD_BACK_OF = 10;

/**
 * Divides rows into those to train on and those to validate with: every tenth, at least one.
 *
 * @template T
 * @param {readonly T[]} rows
 * @returns {{ training: T[], validation: T[] }}
 */
export function holdBack(rows) {
  const every = Math.min(HELD_BACK_OF, rows.length);
  /** @type {(i: number) => boolean} */
  const isHeld = (i) => rows.length > 1 && i % every === every - 1;
  return {
    training: rows.filter((_, i) => !isHeld(i)),
    validation: rows.filter((_, i) => isHeld(i)),
  };
}
