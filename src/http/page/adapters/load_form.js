/** Loads a folder of the server under a name, which may have an adapter already. */
import { useState } from "preact/hooks";
import { getJson } from "../shared/api.js";
import { formatTime } from "../shared/format.js";
import { html } from "../shared/html.js";
import { usePoll } from "../shared/poll.js";
import { load } from "./changes.js";

const FOLDERS_MS = 5000;

/** @typedef {{ path: string, created_at: number }} Folder */

/**
 * @param {{
 *   adapters: readonly import("../server/server_state.js").Adapter[],
 *   merges: boolean,
 * }} props
 */
export function LoadForm({ adapters, merges }) {
  const [folders, setFolders] = useState(/** @type {readonly Folder[] | undefined} */ (undefined));
  const [chosen, setChosen] = useState(/** @type {string | undefined} */ (undefined));
  const [named, setNamed] = useState(/** @type {string | undefined} */ (undefined));
  const [way, setWay] = useState("auto");
  usePoll(
    async (signal) => {
      const listed = await getJson("lora-adapters/folders", signal).catch(() => undefined);
      if (listed !== undefined && !signal.aborted) setFolders(listed.data);
    },
    FOLDERS_MS,
    [],
  );
  if (folders === undefined) return html`<p>Asking the server.</p>`;
  const isLoaded = (/** @type {Folder} */ { path }) => adapters.some(({ name }) => name === path);
  const folder = chosen ?? (folders.find((one) => !isLoaded(one)) ?? folders[0])?.path;
  if (folder === undefined) {
    return html`<p class="note">The server's folder of adapters is empty.</p>`;
  }
  const name = named ?? folder;
  const replaced = adapters.find((adapter) => adapter.name === name);
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    if (!await load(name, folder, replaced, merges ? way : undefined)) return;
    setNamed(undefined);
    setChosen(undefined);
  };
  return html`
    <form class="row" onSubmit=${submit}>
      <label>
        Folder
        <select
          value=${folder}
          onChange=${(/** @type {any} */ event) => setChosen(event.target.value)}
        >
          ${folders.map(({ path, created_at }) =>
            html`<option value=${path}>${path} (${formatTime(created_at)})</option>`
          )}
        </select>
      </label>
      <label>
        Name
        <input
          required
          maxlength="128"
          pattern="[A-Za-z0-9_][A-Za-z0-9_.:\\/\\-]*"
          list="adapter-names"
          value=${name}
          onInput=${(/** @type {any} */ event) => setNamed(event.target.value)}
        />
      </label>
      <datalist id="adapter-names">
        ${adapters.map((adapter) => html`<option value=${adapter.name}></option>`)}
      </datalist>
      ${merges && html`
        <label>
          Answers
          <select value=${way} onChange=${(/** @type {any} */ event) => setWay(event.target.value)}>
            <option value="auto">in the faster way</option>
            <option value="bound">bound to the base</option>
            <option value="merged">merged</option>
          </select>
        </label>
      `}
      <button class="primary">${replaced === undefined ? "Load" : `Replace ${name}`}</button>
      <p class="quiet">
        ${replaced === undefined
          ? "It is checked and tried before requests can name it."
          : `${name} stands for ${replaced.path} now, which can be brought back.`}
      </p>
    </form>
  `;
}
