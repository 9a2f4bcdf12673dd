/** How an adapter answers, in words. */

/** @typedef {import("../server/server_state.js").Adapter} Adapter */

/** @param {Pick<Adapter, "way" | "merge" | "gain_kept" | "ms_per_token">} adapter */
export function answersText({ way, merge, gain_kept: kept, ms_per_token: times }) {
  const share = kept === null ? "" : `, keeps ${(100 * kept).toFixed(1)}% of its gain`;
  const now = way === null ? "not yet" : way === "merged" ? `merged${share}` : "bound";
  if (merge?.state === "running") return `${now}; being merged`;
  if (merge?.state === "failed") return `${now}; not merged: ${merge.error}`;
  if (times === null) return now;
  return `${now} (${times.bound.toFixed(1)} ms a token bound, ${times.merged.toFixed(1)} merged)`;
}
