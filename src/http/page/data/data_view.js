/** Labels rows by hand, and starts a training on them. */
import { server } from "../server/server_state.js";
import { html } from "../shared/html.js";
import { useStore } from "../shared/store.js";
import { FileActions } from "./file_actions.js";
import { rowStore } from "./row_store.js";
import { KINDS } from "./rows.js";
import { RowsTable } from "./rows_table.js";
import { StartJob } from "./start_job.js";

/** @typedef {import("./rows.js").RowKind} RowKind */

export function DataView() {
  const { props } = useStore(server);
  const { kind: chosen, rows } = useStore(rowStore);
  if (props === undefined) return null;
  const kind = chosen ?? (props.model_kind === "causal" ? "pairs" : "classes");
  return html`
    <fieldset>
      <legend>Rows are</legend>
      <div class="choices">
        ${/** @type {RowKind[]} */ (Object.keys(KINDS)).map((key) =>
          html`
            <label class="inline">
              <input
                type="radio"
                name="kind"
                checked=${key === kind}
                onChange=${() => rowStore.change({ kind: key })}
              />
              <span>${KINDS[key].input.toLowerCase()} and ${KINDS[key].output.toLowerCase()}</span>
            </label>
          `
        )}
      </div>
    </fieldset>
    <section aria-labelledby="rows-heading">
      <h2 id="rows-heading">Rows</h2>
      <${RowsTable} key=${kind} kind=${kind} rows=${rows[kind]} />
      <${FileActions} kind=${kind} rows=${rows[kind]} />
    </section>
    <section aria-labelledby="train-heading">
      <h2 id="train-heading">Train</h2>
      ${props.features.fine_tuning
        ? html`<${StartJob} kind=${kind} rows=${rows[kind]} base=${props.base_model} />`
        : html`
          <p class="note">
            This server trains no models: start <code>graft serve</code> with${" "}
            <code>--jobs-dir DIR</code>, install the service with <code>--jobs</code>, or download the rows
            for <code>graft train</code>.
          </p>
        `}
    </section>
  `;
}
