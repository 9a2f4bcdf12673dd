/** Uploads the rows and creates a job that trains on them. */
import { useState } from "preact/hooks";
import { postJson, uploadFile } from "../shared/api.js";
import { html } from "../shared/html.js";
import { goTo } from "../shared/route.js";
import { say, sayProblem } from "../shared/status.js";
import { formatRows, holdBack, isComplete } from "./rows.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").RowKind} RowKind */

/**
 * @typedef {object} JobSettings
 * @property {string} suffix
 * @property {number} epochs
 * @property {number} rate multiple of graft's default learning rate
 * @property {boolean} validates
 */

/**
 * @param {readonly Row[]} rows
 * @param {RowKind} kind
 * @param {string} model
 * @param {JobSettings} settings
 * @returns {Promise<string>} the job's id
 */
async function startJob(rows, kind, model, { suffix, epochs, rate, validates }) {
  const { training, validation } = validates ? holdBack(rows) : { training: rows, validation: [] };
  const upload = async (/** @type {string} */ name, /** @type {readonly Row[]} */ some) =>
    some.length === 0 ? undefined : (await uploadFile(name, formatRows(some, kind))).id;
  const job = await postJson("v1/fine_tuning/jobs", {
    model,
    training_file: await upload("train.jsonl", training),
    validation_file: await upload("valid.jsonl", validation),
    suffix: suffix === "" ? undefined : suffix,
    method: {
      type: "supervised",
      supervised: { hyperparameters: { n_epochs: epochs, learning_rate_multiplier: rate } },
    },
  });
  return job.id;
}

/** @param {{ kind: RowKind, rows: readonly Row[], base: string }} props */
export function StartJob({ kind, rows, base }) {
  const [settings, setSettings] = useState(
    /** @type {JobSettings} */ ({ suffix: "", epochs: 3, rate: 1, validates: true }),
  );
  const [isBusy, setBusy] = useState(false);
  const complete = rows.filter(isComplete);
  const count = complete.length === 1 ? "1 complete row" : `${complete.length} complete rows`;
  const trained = `Trains an adapter for ${base} on ${count}. Requests are answered first.`;
  /** @param {Partial<JobSettings>} change */
  const set = (change) => setSettings({ ...settings, ...change });
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const id = await startJob(complete, kind, base, settings);
      say("The job is created; the rows stay here until they are deleted");
      goTo("jobs", id);
    } catch (error) {
      sayProblem(error);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <form onSubmit=${submit}>
      <p>${trained}</p>
      <div class="fields">
        <label>
          Name of the result
          <input
            maxlength="64"
            pattern="[A-Za-z0-9_.\\-]+"
            placeholder="graft"
            value=${settings.suffix}
            onInput=${(/** @type {any} */ event) => set({ suffix: event.target.value })}
          />
        </label>
        <label>
          Epochs
          <input
            type="number"
            min="1"
            max="1000"
            required
            value=${settings.epochs}
            onInput=${(/** @type {any} */ event) => set({ epochs: Number(event.target.value) })}
          />
        </label>
        <label>
          Learning rate, as a multiple of 2e-4
          <input
            type="number"
            min="0.01"
            max="1000"
            step="any"
            required
            value=${settings.rate}
            onInput=${(/** @type {any} */ event) => set({ rate: Number(event.target.value) })}
          />
        </label>
        <label class="inline">
          <input
            type="checkbox"
            checked=${settings.validates}
            onChange=${(/** @type {any} */ event) => set({ validates: event.target.checked })}
          />
          <span>Hold back every tenth row for validation</span>
        </label>
      </div>
      <div class="actions">
        <button class="primary" disabled=${complete.length === 0 || isBusy}>Start a job</button>
      </div>
    </form>
  `;
}
