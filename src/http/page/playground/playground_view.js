/** Tries what is served. */
import { server } from "../server/server_state.js";
import { html } from "../shared/html.js";
import { useStore } from "../shared/store.js";
import { AnswerColumn } from "./answer_column.js";
import { ask, asked, isAnswering, stopAnswers } from "./answers.js";
import { choicesOf, KIND_NAMES, shownKeys } from "./choices.js";
import { ClassesPlayground, SimilarityPlayground } from "./encoder_playgrounds.js";
import { draft } from "./draft.js";
import { QuestionSettings } from "./question_settings.js";

export function PlaygroundView() {
  const { props } = useStore(server);
  if (props?.model_kind === "classifier") return html`<${ClassesPlayground} />`;
  if (props?.model_kind === "encoder") return html`<${SimilarityPlayground} />`;
  return html`<${Answers} />`;
}

function Answers() {
  const { models, adapters, props } = useStore(server);
  const { message, chosen, ...settings } = useStore(draft);
  const state = useStore(asked);
  if (props === undefined) return null;
  const choices = choicesOf(models, adapters, props);
  const shown = shownKeys(choices, chosen);
  const isChat = props.features.chat;
  const canSend = message.trim() !== "" && shown.length > 0;
  const send = () => {
    const seed = settings.seed === "" ? undefined : Number(settings.seed);
    const compared = choices.filter(({ key }) => shown.includes(key));
    if (canSend) ask({ message, ...settings, seed }, compared, isChat);
  };
  /** @param {string} key */
  const toggle = (key) =>
    draft.change({
      chosen: shown.includes(key) ? shown.filter((one) => one !== key) : [...shown, key],
    });
  return html`
    <form
      class="question"
      onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        send();
      }}
    >
      <label>
        ${isChat ? "Message" : "Text to continue"}
        <textarea
          rows="3"
          value=${message}
          aria-describedby="send-help"
          onInput=${(/** @type {any} */ event) => draft.change({ message: event.target.value })}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
          }}
        ></textarea>
      </label>
      <fieldset>
        <legend>Compare</legend>
        <div class="choices">
          ${choices.map(({ key, label, kind }) =>
            html`
              <label class="inline">
                <input
                  type="checkbox"
                  checked=${shown.includes(key)}
                  onChange=${() => toggle(key)}
                />
                <span>${label} <small>${KIND_NAMES[kind]}</small></span>
              </label>
            `
          )}
        </div>
      </fieldset>
      <${QuestionSettings} isChat=${isChat} />
      <div class="actions">
        <button class="primary" disabled=${!canSend}>Send</button>
        <button type="button" disabled=${!isAnswering(state)} onClick=${stopAnswers}>Stop</button>
        <span id="send-help" class="quiet">Ctrl+Enter sends</span>
      </div>
    </form>
    <h2 id="answers-heading" class="unseen">Answers</h2>
    <section aria-labelledby="answers-heading" class="columns">
      ${state.answers.map((answer, i) =>
        html`
          <${AnswerColumn}
            key=${answer.choice.key}
            id=${`answer-${i}`}
            answer=${answer}
            message=${state.question?.message ?? ""}
          />
        `
      )}
    </section>
  `;
}
