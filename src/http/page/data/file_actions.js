/** Rows from a file, and into one. */
import { html } from "../shared/html.js";
import { say, sayProblem } from "../shared/status.js";
import { addRows, clearRows } from "./row_store.js";
import { formatRows, parseRows } from "./rows.js";

/** Largest file that is imported: the browser keeps about as much. */
const MOST_BYTES = 4e6;

/** @typedef {import("./rows.js").RowKind} RowKind */

/**
 * @param {File} file
 * @param {RowKind} kind
 */
async function importFile(file, kind) {
  if (file.size > MOST_BYTES) {
    sayProblem(`${file.name} is too large to label by hand: at most ${MOST_BYTES / 1e6} MB`);
    return;
  }
  const { rows, refused } = parseRows(await file.text(), kind);
  addRows(kind, rows);
  const read = `${rows.length} ${rows.length === 1 ? "row" : "rows"} of ${file.name} added`;
  if (refused.length === 0) return say(read);
  const some = refused.slice(0, 5).join(", ") + (refused.length > 5 ? " and more" : "");
  const left = refused.length === 1 ? "it is no such row: line" : "they are no such rows: lines";
  sayProblem(`${read}. Left out, because ${left} ${some}`);
}

/**
 * @param {string} text
 * @param {string} name
 */
function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** @param {{ kind: RowKind, rows: readonly import("./rows.js").Row[] }} props */
export function FileActions({ kind, rows }) {
  /** @param {any} event */
  const chosen = ({ target }) => {
    const [file] = target.files;
    if (file !== undefined) importFile(file, kind);
    // The same file can be chosen again.
    target.value = "";
  };
  const text = formatRows(rows, kind);
  return html`
    <div class="actions files">
      <label>
        Import a JSONL file
        <input type="file" accept=".jsonl,application/jsonl" onChange=${chosen} />
      </label>
      <button
        type="button"
        disabled=${text === ""}
        onClick=${() => download(text, `${kind}.jsonl`)}
      >
        Download
      </button>
      <button
        type="button"
        disabled=${rows.length === 0}
        onClick=${() => {
          if (confirm(`Delete all ${rows.length} rows?`)) clearRows(kind);
        }}
      >
        Delete all rows
      </button>
    </div>
  `;
}
