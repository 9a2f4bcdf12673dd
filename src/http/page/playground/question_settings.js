/** How answers are generated. */
import { html } from "../shared/html.js";
import { useStore } from "../shared/store.js";
import { draft } from "./draft.js";

/** @param {{ isChat: boolean }} props */
export function QuestionSettings({ isChat }) {
  const { system, maxTokens, temperature, seed } = useStore(draft);
  return html`
    <details>
      <summary>Settings</summary>
      <div class="fields">
        ${isChat && html`
          <label class="wide">
            System message
            <input
              value=${system}
              onInput=${(/** @type {any} */ event) => draft.change({ system: event.target.value })}
            />
          </label>
        `}
        <label>
          Most tokens
          <input
            type="number"
            min="1"
            step="1"
            required
            value=${maxTokens}
            onInput=${(/** @type {any} */ event) =>
              draft.change({ maxTokens: Number(event.target.value) })}
          />
        </label>
        <label>
          Temperature <span class="value" aria-hidden="true">${temperature}</span>
          <input
            type="range"
            min="0"
            max="2"
            step="0.1"
            value=${temperature}
            onInput=${(/** @type {any} */ event) =>
              draft.change({ temperature: Number(event.target.value) })}
          />
        </label>
        <label>
          Seed
          <input
            type="number"
            step="1"
            placeholder="random"
            value=${seed}
            onInput=${(/** @type {any} */ event) => draft.change({ seed: event.target.value })}
          />
        </label>
      </div>
    </details>
  `;
}
