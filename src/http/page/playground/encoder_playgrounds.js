/** Tries models that read texts and write none: how alike texts are, and classes. */
import { useState } from "preact/hooks";
import { addRow } from "../data/row_store.js";
import { postJson } from "../shared/api.js";
import { formatNumber } from "../shared/format.js";
import { html } from "../shared/html.js";
import { goTo } from "../shared/route.js";
import { sayProblem } from "../shared/status.js";
import { cosine } from "./cosine.js";

/**
 * A form whose texts are asked about; its result is drawn below and goes when a text changes.
 *
 * @param {{
 *   labels: readonly string[],
 *   button: string,
 *   ask: (texts: readonly string[]) => Promise<unknown>,
 *   draw: (result: any, texts: readonly string[]) => unknown,
 * }} props
 */
function TextsForm({ labels, button, ask, draw }) {
  const [texts, setTexts] = useState(labels.map(() => ""));
  const [result, setResult] = useState(/** @type {unknown} */ (undefined));
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    await ask(texts).then(setResult, sayProblem);
  };
  return html`
    <form class="question" onSubmit=${submit}>
      ${labels.map((label, i) =>
        html`
          <label>
            ${label}
            <textarea
              rows="2"
              required
              value=${texts[i]}
              onInput=${(/** @type {any} */ event) => {
                setTexts(texts.with(i, event.target.value));
                setResult(undefined);
              }}
            ></textarea>
          </label>
        `
      )}
      <div class="actions"><button class="primary">${button}</button></div>
    </form>
    <section aria-label="Result" aria-live="polite">
      ${result !== undefined && draw(result, texts)}
    </section>
  `;
}

export function SimilarityPlayground() {
  /** @param {readonly string[]} texts */
  const ask = async (texts) => {
    const { data } = await postJson("v1/embeddings", { input: texts });
    return cosine(data[0].embedding, data[1].embedding);
  };
  return html`
    <p>Two texts with similar meanings have a similarity near 1.</p>
    <${TextsForm}
      labels=${["First text", "Second text"]}
      button="Compare"
      ask=${ask}
      draw=${(/** @type {number} */ similarity) =>
        html`
          <p class="result">
            Cosine similarity <strong>${formatNumber(similarity, 4)}</strong>
          </p>
          <meter min="-1" max="1" value=${similarity} aria-label="Cosine similarity"></meter>
        `}
    />
  `;
}

/** Most classes that are shown. */
const MOST_CLASSES = 20;

/**
 * @typedef {object} Class
 * @property {string} label
 * @property {number} probability
 */

export function ClassesPlayground() {
  /** @param {readonly string[]} texts */
  const ask = async ([input]) => {
    const { data } = await postJson("v1/classify", { input, top_n: MOST_CLASSES });
    return data[0].classes;
  };
  return html`
    <${TextsForm} labels=${["Text"]} button="Classify" ask=${ask} draw=${drawClasses} />
  `;
}

/**
 * @param {readonly Class[]} classes
 * @param {readonly string[]} texts
 */
function drawClasses(classes, [text]) {
  const label = () => {
    addRow("classes", { input: text, output: classes[0]?.label ?? "" });
    goTo("data");
  };
  return html`
    <table>
      <caption>Classes, the likeliest first</caption>
      <thead>
        <tr>
          <th scope="col">Class</th>
          <th scope="col">Probability</th>
          <td></td>
        </tr>
      </thead>
      <tbody>
        ${classes.map(({ label, probability }) =>
          html`
            <tr>
              <th scope="row">${label}</th>
              <td class="number">${formatNumber(probability, 4)}</td>
              <td><meter min="0" max="1" value=${probability} aria-hidden="true"></meter></td>
            </tr>
          `
        )}
      </tbody>
    </table>
    <div class="actions"><button type="button" onClick=${label}>Label this text</button></div>
  `;
}
