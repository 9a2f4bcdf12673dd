/** The rows that are being labelled; the browser keeps them. */
import { sayProblem } from "../shared/status.js";
import { Store } from "../shared/store.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").RowText} RowText */
/** @typedef {import("./rows.js").RowKind} RowKind */

const KEY = "graft.rows";
/** Typing is kept after a pause. */
const KEEP_MS = 300;

/**
 * @typedef {object} Rows
 * @property {RowKind | undefined} kind undefined: the model's
 * @property {Readonly<Record<RowKind, readonly Row[]>>} rows
 */

export const rowStore = new Store(kept());
let lastId = highestId();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

rowStore.subscribe(() => {
  clearTimeout(timer);
  timer = setTimeout(keep, KEEP_MS);
});
addEventListener("pagehide", () => {
  // Else it would undo what another window has changed.
  if (timer !== undefined) keep();
});
addEventListener("storage", ({ key }) => {
  if (key !== KEY || timer !== undefined) return;
  rowStore.set(kept());
  lastId = highestId();
});

/** @returns {Rows} */
function kept() {
  try {
    const { kind, rows } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    /** @type {(value: unknown) => readonly Row[]} */
    const read = (value) =>
      Array.isArray(value)
        ? value.map(({ input, output }, i) => ({
          id: i + 1,
          input: String(input),
          output: String(output),
        }))
        : [];
    return {
      kind: kind === "pairs" || kind === "classes" ? kind : undefined,
      rows: { pairs: read(rows?.pairs), classes: read(rows?.classes) },
    };
  } catch {
    // It is of another version, or another page's.
    return { kind: undefined, rows: { pairs: [], classes: [] } };
  }
}

function highestId() {
  return Object.values(rowStore.get().rows).flat().reduce((most, { id }) => Math.max(most, id), 0);
}

function keep() {
  clearTimeout(timer);
  timer = undefined;
  try {
    localStorage.setItem(KEY, JSON.stringify(rowStore.get()));
  } catch {
    sayProblem("The browser cannot keep so many rows: start a job, or download them");
  }
}

/**
 * @param {RowKind} kind
 * @param {(rows: readonly Row[]) => readonly Row[]} change
 */
function changeRows(kind, change) {
  const { rows } = rowStore.get();
  rowStore.change({ rows: { ...rows, [kind]: change(rows[kind]) } });
}

/**
 * Puts a row behind the others.
 *
 * @param {RowKind} kind
 * @param {RowText} row
 */
export function addRow(kind, row) {
  addRows(kind, [row]);
  rowStore.change({ kind });
}

/**
 * @param {RowKind} kind
 * @param {readonly RowText[]} rows
 */
export function addRows(kind, rows) {
  changeRows(kind, (before) => [...before, ...rows.map((row) => ({ ...row, id: ++lastId }))]);
}

/**
 * @param {RowKind} kind
 * @param {number} id
 * @param {Partial<RowText>} change
 */
export function editRow(kind, id, change) {
  changeRows(kind, (rows) => rows.map((row) => row.id === id ? { ...row, ...change } : row));
}

/**
 * @param {RowKind} kind
 * @param {number} id
 */
export function removeRow(kind, id) {
  changeRows(kind, (rows) => rows.filter((row) => row.id !== id));
}

/** @param {RowKind} kind */
export function clearRows(kind) {
  changeRows(kind, () => []);
}
