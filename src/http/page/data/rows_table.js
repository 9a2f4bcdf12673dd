/** The rows as a table to write in, some at a time. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { html } from "../shared/html.js";
import { addRows, editRow, removeRow } from "./row_store.js";
import { KINDS } from "./rows.js";

const SHOWN = 20;

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").RowKind} RowKind */

/** @param {{ kind: RowKind, rows: readonly Row[] }} props */
export function RowsTable({ kind, rows }) {
  const pages = Math.max(1, Math.ceil(rows.length / SHOWN));
  const [page, setPage] = useState(pages - 1);
  const start = Math.min(page, pages - 1) * SHOWN;
  const body = useRef(/** @type {HTMLTableSectionElement | null} */ (null));
  const focused = useFocus(body, start);
  const add = () => {
    addRows(kind, [{ input: "", output: "" }]);
    setPage(Math.floor(rows.length / SHOWN));
    focused(rows.length);
  };
  /** @param {number} index @param {number} id */
  const remove = (index, id) => {
    removeRow(kind, id);
    focused(Math.min(index, rows.length - 2));
  };
  const { input, output } = KINDS[kind];
  return html`
    ${rows.length === 0 ? html`<p>No rows yet.</p>` : html`
      <table class="rows cards">
        <caption>
          ${rows.length === 1 ? "1 row" : `${rows.length} rows`}, kept in this browser. Ctrl+Enter
          adds one.
        </caption>
        <thead>
          <tr>
            <th scope="col">Row</th>
            <th scope="col">${input}</th>
            <th scope="col">${output}</th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody ref=${body}>
          ${rows.slice(start, start + SHOWN).map((row, i) =>
            html`
              <${RowCells}
                key=${row.id}
                kind=${kind}
                row=${row}
                index=${start + i}
                onAdd=${add}
                onRemove=${remove}
              />
            `
          )}
        </tbody>
      </table>
    `}
    <div class="actions">
      <button type="button" onClick=${add}>Add a row</button>
      ${pages > 1 && html`
        <button type="button" disabled=${start === 0} onClick=${() => setPage(page - 1)}>
          Rows before
        </button>
        <span class="quiet">
          ${start + 1} to ${Math.min(start + SHOWN, rows.length)} of ${rows.length}
        </span>
        <button
          type="button"
          disabled=${start + SHOWN >= rows.length}
          onClick=${() => setPage(page + 1)}
        >
          Rows after
        </button>
      `}
    </div>
  `;
}

/**
 * Moves the focus to a row once it is there.
 *
 * @param {{ current: HTMLElement | null }} body
 * @param {number} start index of the first row that is shown
 */
function useFocus(body, start) {
  const wanted = useRef(/** @type {number | undefined} */ (undefined));
  // At once: keys that are pressed meanwhile belong to the row.
  useLayoutEffect(() => {
    if (wanted.current === undefined) return;
    const row = body.current?.children[wanted.current - start];
    if (row === undefined) return;
    row.querySelector("textarea")?.focus();
    wanted.current = undefined;
  });
  return (/** @type {number} */ index) => {
    wanted.current = index < 0 ? undefined : index;
  };
}

/**
 * @param {{
 *   kind: RowKind,
 *   row: Row,
 *   index: number,
 *   onAdd: () => void,
 *   onRemove: (index: number, id: number) => void,
 * }} props
 */
function RowCells({ kind, row, index, onAdd, onRemove }) {
  /** @param {"input" | "output"} part */
  const cell = (part) =>
    html`
      <td data-label=${KINDS[kind][part]}>
        <textarea
          rows="1"
          aria-label=${`${KINDS[kind][part]} of row ${index + 1}`}
          value=${row[part]}
          onInput=${(/** @type {any} */ event) =>
            editRow(kind, row.id, { [part]: event.target.value })}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onAdd();
          }}
        ></textarea>
      </td>
    `;
  return html`
    <tr>
      <th scope="row">${index + 1}</th>
      ${cell("input")} ${cell("output")}
      <td>
        <button
          type="button"
          aria-label=${`Delete row ${index + 1}`}
          onClick=${() => onRemove(index, row.id)}
        >
          Delete
        </button>
      </td>
    </tr>
  `;
}
