/** The mix of adapters that requests for the base get. */
import { useEffect, useState } from "preact/hooks";
import { formatNumber } from "../shared/format.js";
import { html } from "../shared/html.js";
import { mix } from "./changes.js";

/** @typedef {import("../server/server_state.js").Adapter} Adapter */

/** @param {{ adapters: readonly Adapter[], base: string }} props */
export function Mix({ adapters, base }) {
  /** @param {number} id @param {number} scale */
  const set = (id, scale) =>
    mix(adapters.map((adapter) => ({
      id: adapter.id,
      scale: adapter.id === id ? scale : adapter.scale,
    })));
  const isMixed = adapters.some(({ scale }) => scale !== 0);
  return html`
    <section aria-labelledby="mix-heading">
      <h2 id="mix-heading">Mix</h2>
      <p>Requests for ${base} are answered with these shares of the adapters.</p>
      <div class="sliders">
        ${adapters.map((adapter) =>
          html`
            <${Share} key=${adapter.id} adapter=${adapter} onSet=${set} />
          `
        )}
      </div>
      <div class="actions">
        <button type="button" disabled=${!isMixed} onClick=${() => mix([])}>Clear the mix</button>
      </div>
    </section>
  `;
}

/**
 * @param {{ adapter: Adapter, onSet: (id: number, scale: number) => void }} props
 */
function Share({ adapter: { id, name, scale }, onSet }) {
  // While it is dragged it is ahead of the server.
  const [dragged, setDragged] = useState(scale);
  useEffect(() => setDragged(scale), [scale]);
  return html`
    <label class="share">
      <span>${name}</span>
      <input
        type="range"
        min=${Math.min(0, scale)}
        max=${Math.max(2, scale)}
        step="0.05"
        value=${dragged}
        aria-label=${`Share of ${name}`}
        onInput=${(/** @type {any} */ event) => setDragged(Number(event.target.value))}
        onChange=${(/** @type {any} */ event) => onSet(id, Number(event.target.value))}
      />
      <span class="value" aria-hidden="true">${formatNumber(dragged, 2)}</span>
    </label>
  `;
}
