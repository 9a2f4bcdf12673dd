/** Asks several choices at the same time and keeps what they answer. */
import { postForEvents } from "../shared/api.js";
import { Store } from "../shared/store.js";

/**
 * @typedef {object} Answer
 * @property {import("./choices.js").Choice} choice
 * @property {"waiting" | "writing" | "done" | "stopped" | "failed"} state
 * @property {string} text
 * @property {string} [problem]
 * @property {number} [firstMs] from the request to the first text
 * @property {number} [tokens]
 * @property {number} [tokensPerSecond] after the first text
 * @property {string} [finish] why it ended
 * @property {number} [generation] of the adapter
 *
 * @typedef {object} Question
 * @property {string} message
 * @property {string} system
 * @property {number} maxTokens
 * @property {number} temperature
 * @property {number | undefined} seed
 *
 * @typedef {object} Asked
 * @property {Question | undefined} question
 * @property {readonly Answer[]} answers
 */

export const asked = new Store(/** @type {Asked} */ ({ question: undefined, answers: [] }));

let stop = new AbortController();

/** Ends the answers that are being written. */
export function stopAnswers() {
  stop.abort();
}

/** @param {Asked} state */
export const isAnswering = ({ answers }) =>
  answers.some(({ state }) => state === "waiting" || state === "writing");

/**
 * Asks all choices.
 *
 * @param {Question} question
 * @param {readonly import("./choices.js").Choice[]} choices
 * @param {boolean} isChat whether the model has a chat template; else it continues the message
 */
export async function ask(question, choices, isChat) {
  stop.abort();
  const { signal } = stop = new AbortController();
  asked.set({
    question,
    answers: choices.map((choice) => ({ choice, state: "waiting", text: "" })),
  });
  await Promise.all(choices.map((choice, i) => {
    /** @param {Partial<Answer>} change */
    const tell = (change) => {
      const { answers } = asked.get();
      // Another question may have been asked meanwhile.
      if (answers[i]?.choice !== choice) return;
      asked.change({ answers: answers.with(i, { ...answers[i], ...change }) });
    };
    return answer(question, choice, isChat, signal, tell);
  }));
}

/**
 * @param {Question} question
 * @param {import("./choices.js").Choice} choice
 * @param {boolean} isChat
 * @param {AbortSignal} signal
 * @param {(change: Partial<Answer>) => void} tell
 */
async function answer(question, choice, isChat, signal, tell) {
  const { message, system, maxTokens, temperature, seed } = question;
  const start = performance.now();
  let text = "";
  /** @type {number | undefined} */
  let firstAt;
  const path = isChat ? "v1/chat/completions" : "v1/completions";
  const messages = [
    ...(system === "" ? [] : [{ role: "system", content: system }]),
    { role: "user", content: message },
  ];
  const body = {
    ...choice.body,
    ...(isChat ? { messages } : { prompt: message }),
    ...{ max_tokens: maxTokens, temperature, seed },
    ...{ stream: true, stream_options: { include_usage: true } },
  };
  try {
    for await (const event of postForEvents(path, body, signal)) {
      const [part] = event.choices;
      const piece = part?.delta?.content ?? part?.text ?? "";
      if (piece !== "") {
        text += piece;
        firstAt ??= performance.now();
        tell({ state: "writing", text, firstMs: firstAt - start });
      }
      if (part?.finish_reason) tell({ finish: part.finish_reason });
      if (event.adapter_generation !== undefined) tell({ generation: event.adapter_generation });
      if (event.usage) {
        const tokens = event.usage.completion_tokens;
        const seconds = (performance.now() - (firstAt ?? start)) / 1000;
        // The first token took the reading of the prompt, too.
        tell({ tokens, tokensPerSecond: tokens > 1 ? (tokens - 1) / seconds : undefined });
      }
    }
    tell({ state: "done" });
  } catch (error) {
    if (signal.aborted) tell({ state: "stopped" });
    else tell({ state: "failed", problem: /** @type {Error} */ (error).message });
  }
}
