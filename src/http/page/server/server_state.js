/** What the page knows of the server, asked for again and again. */
import { ApiFailure, getJson, getText, hasKey, keepKey, whenRefused } from "../shared/api.js";
import { poll } from "../shared/poll.js";
import { Store } from "../shared/store.js";
import { figuresOf, withFigures } from "./figures.js";

/**
 * @typedef {object} Model
 * @property {string} id
 * @property {string | null} parent the base of an adapter
 *
 * @typedef {object} Adapter
 * @property {number} id
 * @property {string} name
 * @property {string} path
 * @property {number} scale in what requests for the base get
 * @property {number | null} rank
 * @property {number} adapter_generation 0 before its first merge
 * @property {"bound" | "merged" | null} way null before its first merge
 * @property {{ state: "running" | "failed" | "declined" | "done", error: string | null } | null} merge
 * @property {number | null} gain_kept share of the gain that its merged model keeps
 * @property {{ bound: number, merged: number } | null} ms_per_token
 * @property {boolean} mixable
 * @property {string | null} previous_path
 *
 * @typedef {object} Props
 * @property {string} model_alias what answers requests that name no model
 * @property {string} base_model what adapters and jobs are for
 * @property {"causal" | "encoder" | "classifier"} model_kind
 * @property {number} total_slots
 * @property {number} max_concurrent_requests
 * @property {{ n_ctx: number | null, n_predict: number }} default_generation_settings
 * @property {{ chat: boolean, adapters: boolean, adapter_loading: boolean, adapter_merging: boolean,
 *   fine_tuning: boolean }} features
 * @property {string} build_info
 *
 * @typedef {object} ServerState
 * @property {"asking" | "key" | "reached" | "failed"} reach
 * @property {string} [problem]
 * @property {Props} [props] absent before the first answer
 * @property {readonly Model[]} models
 * @property {readonly Adapter[]} adapters
 * @property {readonly import("./figures.js").Figures[]} figures the oldest first
 */

const STATE_MS = 4000;
const FIGURES_MS = 2000;

export const server = new Store(
  /** @type {ServerState} */ ({ reach: "asking", models: [], adapters: [], figures: [] }),
);

/** Numbers of the last question, and of the last that the page shows the answer of. */
let [asked, shown] = [0, 0];

/** Asks for what is served, now. */
export async function refresh() {
  if (server.get().reach === "key") return;
  const number = ++asked;
  try {
    const [props, { data: models }] = await Promise.all([getJson("props"), getJson("v1/models")]);
    const adapters = props.features.adapters ? await getJson("lora-adapters") : [];
    // A later question may have been answered earlier, after a change.
    if (number < shown) return;
    shown = number;
    server.change({ reach: "reached", problem: undefined, props, models, adapters });
  } catch (error) {
    if (number > shown) failed(error);
  }
}

async function refreshFigures() {
  if (server.get().reach === "key") return;
  try {
    const figures = figuresOf(await getText("metrics"), Date.now());
    server.change({ figures: withFigures(server.get().figures, figures) });
  } catch (error) {
    failed(error);
  }
}

/** @param {unknown} error */
function failed(error) {
  // Then the page asks for a key.
  if (error instanceof ApiFailure && error.status === 401) return;
  const problem = error instanceof ApiFailure ? error.message : "The server does not answer";
  server.change({ reach: "failed", problem });
}

/**
 * Keeps the state up to date.
 *
 * @returns {() => void} ends it
 */
export function watchServer() {
  whenRefused(() => {
    const problem = hasKey() ? "The server does not know this key" : server.get().problem;
    keepKey(undefined);
    server.change({ reach: "key", problem });
  });
  const ends = [poll(refresh, STATE_MS), poll(refreshFigures, FIGURES_MS)];
  return () => ends.forEach((end) => end());
}

/**
 * Uses a key from now on.
 *
 * @param {string} key
 */
export function giveKey(key) {
  keepKey(key);
  server.change({ reach: "asking", problem: undefined });
  refresh();
}
