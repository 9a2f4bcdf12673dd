/** What has just been done, for eyes and for screen readers. */
import { html } from "./html.js";
import { Store, useStore } from "./store.js";

/** How long a message stays to be seen. */
const SHOWN_MS = 8000;

const status = new Store({ text: "", isProblem: false });
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * Says that something was done.
 *
 * @param {string} text
 */
export function say(text) {
  tell(text, false);
}

/**
 * Says that something failed.
 *
 * @param {unknown} error
 */
export function sayProblem(error) {
  tell(error instanceof Error ? error.message : String(error), true);
}

/**
 * @param {string} text
 * @param {boolean} isProblem
 */
function tell(text, isProblem) {
  clearTimeout(timer);
  status.set({ text, isProblem });
  // A problem stays until something else happens.
  if (!isProblem) timer = setTimeout(clear, SHOWN_MS);
}

const clear = () => status.set({ text: "", isProblem: false });

/** Where messages are shown; the elements stay, so that changes in them are read out. */
export function Status() {
  const { text, isProblem } = useStore(status);
  return html`
    <div class="status" data-shown=${text !== ""} data-problem=${isProblem}>
      <p role="status">${isProblem ? "" : text}</p>
      <p role="alert">${isProblem ? text : ""}</p>
      ${isProblem && html`<button type="button" onClick=${clear}>Close</button>`}
    </div>
  `;
}
