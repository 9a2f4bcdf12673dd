/** The adapters that are loaded. */
import { html } from "../shared/html.js";
import { answersText } from "./answers_text.js";
import { rollBack, unload } from "./changes.js";

/** @typedef {import("../server/server_state.js").Adapter} Adapter */

/** @param {{ adapters: readonly Adapter[] }} props */
export function AdapterTable({ adapters }) {
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Loaded adapters">
      <table class="cards">
        <caption>Each is a model of its own to requests</caption>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Rank</th>
            <th scope="col">Generation</th>
            <th scope="col">Answers</th>
            <th scope="col">Folder</th>
            <th scope="col">Previous folder</th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody>${adapters.map((adapter) =>
          html`<${AdapterRow} key=${adapter.id} adapter=${adapter} />`
        )}</tbody>
      </table>
    </div>
  `;
}

/** @param {{ adapter: Adapter }} props */
function AdapterRow({ adapter }) {
  const { name, rank, adapter_generation: generation, path, previous_path: previous } = adapter;
  return html`
    <tr>
      <th scope="row">${name}</th>
      <td class="number" data-label="Rank">${rank}</td>
      <td class="number" data-label="Generation">${generation}</td>
      <td data-label="Answers">${answersText(adapter)}</td>
      <td class="path" data-label="Folder">${path}</td>
      <td class="path" data-label="Previous folder">${previous ?? "none"}</td>
      <td>
        <div class="actions">
          <button
            type="button"
            aria-label=${`Roll back ${name}`}
            disabled=${previous === null}
            onClick=${() => rollBack(adapter)}
          >
            Roll back
          </button>
          <button type="button" aria-label=${`Unload ${name}`} onClick=${() => unload(adapter)}>
            Unload
          </button>
        </div>
      </td>
    </tr>
  `;
}
