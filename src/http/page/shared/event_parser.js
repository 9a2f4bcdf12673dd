/** Reads server-sent events. Source: the HTML standard, section 9.2. */

export class EventParser {
  #rest = "";

  /**
   * @param {string} text the next piece, cut anywhere
   * @returns {string[]} the data of the events that are complete
   */
  push(text) {
    this.#rest += text;
    const events = this.#rest.split(/\r?\n\r?\n/);
    this.#rest = /** @type {string} */ (events.pop());
    return events.map((event) =>
      event.split(/\r?\n/).filter((line) => line.startsWith("data:"))
        .map((line) => line.slice("data:".length).replace(/^ /, "")).join("\n")
    ).filter((data) => data !== "");
  }
}
