/** Asks for the server's key, and keeps it until the window is closed. */
import { useState } from "preact/hooks";
import { giveKey } from "./server/server_state.js";
import { html } from "./shared/html.js";

/** @param {{ problem?: string }} props */
export function KeyForm({ problem }) {
  const [key, setKey] = useState("");
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    giveKey(key.trim());
    setKey("");
  };
  return html`
    <main class="gate">
      <h1>This server needs a key</h1>
      <form onSubmit=${submit}>
        <p id="key-help">
          The key is one of those that the server was started with. It stays in this window and is
          sent to this server only.
        </p>
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <label>
          Key
          <input
            type="password"
            autocomplete="off"
            required
            autofocus
            aria-describedby="key-help"
            value=${key}
            onInput=${(/** @type {any} */ event) => setKey(event.target.value)}
          />
        </label>
        <button class="primary">Use this key</button>
      </form>
    </main>
  `;
}
