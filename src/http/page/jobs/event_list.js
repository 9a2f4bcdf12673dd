/** Fetches the events of a job: all at first, and then what is new. */
import { getJson } from "../shared/api.js";

/** Most that the server sends at a time. */
const PAGE = 100;
/** Most pages at the beginning, so that a long job can be opened. */
const MOST_PAGES = 200;

/** @typedef {import("./training_series.js").JobEvent} JobEvent */

export class EventList {
  #path;
  /** @type {readonly JobEvent[]} the oldest first */
  #events = [];

  #get;

  /**
   * @param {string} job
   * @param {(path: string, signal: AbortSignal) => Promise<any>} [get] for tests
   */
  constructor(job, get = getJson) {
    this.#get = get;
    this.#path = `v1/fine_tuning/jobs/${encodeURIComponent(job)}/events`;
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<readonly JobEvent[]>} all so far, the oldest first
   */
  async fetch(signal) {
    const newest = this.#events.at(-1)?.id;
    /** @type {JobEvent[]} */
    const fresh = [];
    let after = "";
    for (let pages = 0; pages < MOST_PAGES; pages++) {
      const page = await this.#get(`${this.#path}?limit=${PAGE}${after}`, signal);
      /** @type {JobEvent[]} */
      const data = page.data;
      const known = data.findIndex(({ id }) => id === newest);
      fresh.push(...(known < 0 ? data : data.slice(0, known)));
      if (known >= 0 || !page.has_more) break;
      after = `&after=${page.last_id}`;
    }
    if (fresh.length > 0) this.#events = [...this.#events, ...fresh.reverse()];
    return this.#events;
  }
}
