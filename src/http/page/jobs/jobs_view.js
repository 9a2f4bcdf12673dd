/** Fine-tuning jobs: all of them, or one. */
import { useState } from "preact/hooks";
import { server } from "../server/server_state.js";
import { getJson } from "../shared/api.js";
import { formatTime } from "../shared/format.js";
import { html } from "../shared/html.js";
import { usePoll } from "../shared/poll.js";
import { useStore } from "../shared/store.js";
import { JobView } from "./job_view.js";

const JOBS_MS = 2000;
const MOST_LISTED = 100;

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} status
 * @property {string} model
 * @property {number} created_at
 * @property {number | null} finished_at
 * @property {string | null} fine_tuned_model
 * @property {string} training_file
 * @property {string | null} user_provided_suffix
 * @property {{ message: string } | null} error
 */

/** @param {{ path: readonly string[] }} props */
export function JobsView({ path: [id] }) {
  const { props } = useStore(server);
  if (props?.features.fine_tuning !== true) {
    return html`
      <p class="note">
        This server trains no models. Start <code>graft serve</code> with${" "}
        <code>--jobs-dir DIR</code> for a folder of uploaded files and jobs, or install the service with${" "}
        <code>--jobs</code>.
      </p>
    `;
  }
  return id === undefined ? html`<${JobList} />` : html`<${JobView} key=${id} id=${id} />`;
}

function JobList() {
  const [jobs, setJobs] = useState(/** @type {readonly Job[] | undefined} */ (undefined));
  usePoll(
    async (signal) => {
      const page = await getJson(`v1/fine_tuning/jobs?limit=${MOST_LISTED}`, signal)
        .catch(() => undefined);
      if (page !== undefined && !signal.aborted) setJobs(page.data);
    },
    JOBS_MS,
    [],
  );
  if (jobs === undefined) return html`<p>Asking the server.</p>`;
  if (jobs.length === 0) {
    return html`<p>No job yet. <a href="#data">Label rows</a> and start one.</p>`;
  }
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Jobs">
      <table class="cards">
        <caption>The newest first; they train one after another</caption>
        <thead>
          <tr>
            <th scope="col">Job</th>
            <th scope="col">Status</th>
            <th scope="col">Base</th>
            <th scope="col">Created</th>
            <th scope="col">Result</th>
          </tr>
        </thead>
        <tbody>
          ${jobs.map((job) =>
            html`
              <tr key=${job.id}>
                <th scope="row"><a href=${`#jobs/${job.id}`}>${job.id.slice(0, 14)}</a></th>
                <td data-label="Status"><span class="state" data-state=${job.status}>${job
                  .status}</span></td>
                <td data-label="Base">${job.model}</td>
                <td data-label="Created">${formatTime(job.created_at)}</td>
                <td class="path" data-label="Result">${job.fine_tuned_model ?? ""}</td>
              </tr>
            `
          )}
        </tbody>
      </table>
    </div>
  `;
}
