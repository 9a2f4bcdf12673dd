/** The mix of adapters that requests for the base get. */
import { useState } from "preact/hooks";
import { formatNumber } from "../shared/format.js";
import { html } from "../shared/html.js";
import { clearMix, mixIn } from "./changes.js";

/** @typedef {import("../server/server_state.js").Adapter} Adapter */

/** @param {{ adapters: readonly Adapter[], base: string }} props */
export function Mix({ adapters, base }) {
  const isMixed = adapters.some(({ scale }) => scale !== 0);
  return html`
    <section aria-labelledby="mix-heading">
      <h2 id="mix-heading">Mix</h2>
      <p>Requests for ${base} are answered with these shares of the adapters.</p>
      <div class="sliders">
        ${adapters.map((adapter) => html`<${Share} key=${adapter.id} adapter=${adapter} />`)}
      </div>
      <div class="actions">
        <button type="button" disabled=${!isMixed} onClick=${clearMix}>Clear the mix</button>
      </div>
    </section>
  `;
}

/** @param {{ adapter: Adapter }} props */
function Share({ adapter: { id, name, scale } }) {
  // Ahead of the server while it is dragged, and until the server has it.
  const [dragged, setDragged] = useState(/** @type {number | undefined} */ (undefined));
  const shown = dragged ?? scale;
  /** @param {number} chosen */
  const choose = async (chosen) => {
    await mixIn(id, chosen);
    setDragged((now) => now === chosen ? undefined : now);
  };
  return html`
    <label class="share">
      <span>${name}</span>
      <input
        type="range"
        min=${Math.min(0, scale)}
        max=${Math.max(2, scale)}
        step="0.05"
        value=${shown}
        aria-label=${`Share of ${name}`}
        onInput=${(/** @type {any} */ event) => setDragged(Number(event.target.value))}
        onChange=${(/** @type {any} */ event) => choose(Number(event.target.value))}
      />
      <span class="value" aria-hidden="true">${formatNumber(shown, 2)}</span>
    </label>
  `;
}
