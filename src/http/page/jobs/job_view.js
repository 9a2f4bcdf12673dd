/** One job: what it does, its curves and events; it can be paused, resumed and cancelled. */
import { useMemo, useRef, useState } from "preact/hooks";
import { refresh } from "../server/server_state.js";
import { ApiFailure, getJson, postJson } from "../shared/api.js";
import { formatNumber, formatSmall, formatTime } from "../shared/format.js";
import { html } from "../shared/html.js";
import { Terms } from "../shared/terms.js";
import { usePoll } from "../shared/poll.js";
import { say, sayProblem } from "../shared/status.js";
import { Chart } from "../shared/chart.js";
import { EventList } from "./event_list.js";
import { lastValue, trainingSeries } from "./training_series.js";

const JOB_MS = 1000;
/** Most messages that are shown. */
const MOST_MESSAGES = 20;

/** @typedef {import("./jobs_view.js").Job} Job */

/** States that a job stays in. */
const FINAL = ["succeeded", "failed", "cancelled"];

/** States in which each change is possible. */
const CHANGES = {
  pause: {
    button: "Pause",
    states: ["queued", "running"],
    done: "The job stops after a checkpoint",
  },
  resume: { button: "Resume", states: ["paused"], done: "The job goes on" },
  cancel: {
    button: "Cancel",
    states: ["validating_files", "queued", "running", "paused"],
    done: "The job is cancelled",
  },
};

/** @param {{ id: string }} props */
export function JobView({ id }) {
  const [job, setJob] = useState(/** @type {Job | undefined} */ (undefined));
  const [events, setEvents] = useState(
    /** @type {readonly import("./training_series.js").JobEvent[]} */ ([]),
  );
  const [problem, setProblem] = useState("");
  const list = useMemo(() => new EventList(id), [id]);
  const status = useRef("");
  const path = `v1/fine_tuning/jobs/${encodeURIComponent(id)}`;
  usePoll(
    async (signal) => {
      // Nothing more happens then.
      if (FINAL.includes(status.current)) return;
      try {
        const [now, all] = await Promise.all([getJson(path, signal), list.fetch(signal)]);
        setJob(now);
        setEvents(all);
        status.current = now.status;
        // Its result is a model that can be asked.
        if (now.status === "succeeded") refresh();
      } catch (error) {
        if (error instanceof ApiFailure && error.status === 404) setProblem(error.message);
      }
    },
    JOB_MS,
    [id],
  );
  const series = useMemo(() => trainingSeries(events), [events]);
  if (problem !== "") {
    return html`
      <p class="problem" role="alert">${problem}</p>
      <${Back} />
    `;
  }
  if (job === undefined) return html`<p>Asking the server.</p>`;
  return html`
    <${Back} />
    <section aria-labelledby="job-heading">
      <h2 id="job-heading">Job ${id.slice(0, 14)}</h2>
      <${Facts} job=${job} series=${series} />
      <${Changes} job=${job} path=${path} onChange=${setJob} />
    </section>
    <section aria-label="Curves" class="charts">
      <${Chart}
        title="Loss"
        xLabel="Step"
        x=${series.steps}
        series=${[
          { label: "training", values: series.trainLoss },
          { label: "validation", values: series.validLoss },
        ]}
        format=${(/** @type {number} */ value) => formatNumber(value, 4)}
        formatTick=${(/** @type {number} */ value) => `${+value.toPrecision(4)}`}
      />
      <${Chart}
        title="Learning rate"
        fromZero
        xLabel="Step"
        x=${series.steps}
        series=${[{ label: "learning rate", values: series.learningRate }]}
        format=${formatSmall}
      />
    </section>
    <${Messages} events=${events} />
  `;
}

const Back = () => html`<p><a href="#jobs">All jobs</a></p>`;

/**
 * @param {{ job: Job, series: import("./training_series.js").TrainingSeries }} props
 */
function Facts({ job, series }) {
  /** @type {[string, unknown][]} */
  const facts = [
    [
      "Status",
      html`<span role="status" class="state" data-state=${job.status}>${job.status}</span>`,
    ],
    ["Base", job.model],
    ["Created", formatTime(job.created_at)],
  ];
  const step = series.steps.at(-1);
  if (step !== undefined) {
    facts.push(["Step", step]);
    facts.push(["Tokens per second", formatNumber(lastValue(series.tokensPerSecond), 0)]);
  }
  if (job.finished_at !== null) facts.push(["Finished", formatTime(job.finished_at)]);
  return html`
    <${Terms} kind="facts" facts=${facts} />
    ${job.error !== null && html`<p class="problem" role="alert">${job.error.message}</p>`}
    ${job.status === "succeeded" && job.fine_tuned_model === null && html`
      <p class="note">Requests cannot name the result: the messages say why, and where it is.</p>
    `}
    ${job.fine_tuned_model !== null && html`
      <p class="note">
        The result is the model <strong>${job.fine_tuned_model}</strong>.${" "}
        <a href="#playground">Try it</a>
      </p>
    `}
  `;
}

/**
 * @param {{ job: Job, path: string, onChange: (job: Job) => void }} props
 */
function Changes({ job, path, onChange }) {
  return html`
    <div class="actions">
      ${Object.entries(CHANGES).map(([name, { button, states, done }]) => {
        const change = async () => {
          try {
            onChange(await postJson(`${path}/${name}`));
            say(done);
          } catch (error) {
            sayProblem(error);
          }
        };
        return html`
          <button type="button" disabled=${!states.includes(job.status)} onClick=${change}>
            ${button}
          </button>
        `;
      })}
    </div>
  `;
}

/**
 * @param {{ events: readonly import("./training_series.js").JobEvent[] }} props
 */
function Messages({ events }) {
  const messages = events.filter(({ data }) => data === null).slice(-MOST_MESSAGES).reverse();
  return html`
    <section aria-labelledby="messages-heading">
      <h2 id="messages-heading">Messages</h2>
      <ul class="messages">
        ${messages.map(({ id, created_at, level, message }) =>
          html`
            <li key=${id} data-level=${level}>
              <span class="quiet">${formatTime(created_at)}</span> ${message}
            </li>
          `
        )}
      </ul>
    </section>
  `;
}
