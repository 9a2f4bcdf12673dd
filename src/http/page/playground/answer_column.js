/** One answer, as it is written. */
import { addRow } from "../data/row_store.js";
import { formatNumber } from "../shared/format.js";
import { html } from "../shared/html.js";
import { goTo } from "../shared/route.js";
import { KIND_NAMES } from "./choices.js";

/** @type {Readonly<Record<import("./answers.js").Answer["state"], string>>} */
const STATES = {
  waiting: "Reading the message",
  writing: "Writing",
  done: "Complete",
  stopped: "Stopped",
  failed: "Failed",
};

/** @param {{ answer: import("./answers.js").Answer, message: string, id: string }} props */
export function AnswerColumn({ answer, message, id }) {
  const { choice, state, text, problem } = answer;
  const label = () => {
    addRow("pairs", { input: message, output: text });
    goTo("data");
  };
  const isBusy = state === "waiting" || state === "writing";
  return html`
    <article class="answer" aria-labelledby=${id}>
      <header>
        <h3 id=${id}>${choice.label}</h3>
        <p class="kind">${KIND_NAMES[choice.kind]}</p>
      </header>
      <div class="text" role="log" aria-live="polite" aria-busy=${isBusy} tabindex="0" aria-labelledby=${id}>
        ${text}
      </div>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <footer>
        <p class="quiet">${[STATES[state], ...measured(answer)].join(" · ")}</p>
        ${!isBusy && text !== "" &&
          html`
            <button type="button" onClick=${label} aria-label=${`Label this answer of ${choice.label}`}>
              Label this answer
            </button>
          `}
      </footer>
    </article>
  `;
}

/** @param {import("./answers.js").Answer} answer */
function measured({ firstMs, tokens, tokensPerSecond, finish, generation }) {
  const parts = [];
  if (firstMs !== undefined) parts.push(`first token after ${formatNumber(firstMs / 1000, 2)} s`);
  if (tokensPerSecond !== undefined) parts.push(`${formatNumber(tokensPerSecond)} tokens/s`);
  if (tokens !== undefined) parts.push(`${tokens} tokens`);
  if (finish === "length") parts.push("cut at the limit");
  if (generation !== undefined) parts.push(`generation ${generation}`);
  return parts;
}
