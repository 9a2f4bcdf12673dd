/** The server's figures over time. */
import { parseMetrics } from "../shared/prometheus.js";

/**
 * What `/metrics` said at a time.
 *
 * @typedef {object} Figures
 * @property {number} at milliseconds
 * @property {number} generatedTokens so far
 * @property {number} promptTokens so far
 * @property {number} inWork requests in work and waiting
 * @property {number} residentBytes
 * @property {number | undefined} availableBytes
 * @property {readonly { zone: string, celsius: number }[]} temperatures the hottest first
 */

/** Time that a rate is a mean over: tokens are counted when their answer is complete. */
const RATE_MS = 30_000;
/** Time of which figures are kept. */
const KEPT_MS = 600_000;

/**
 * @param {string} text of `/metrics`
 * @param {number} at
 * @returns {Figures}
 */
export function figuresOf(text, at) {
  const found = parseMetrics(text);
  /** @param {string} name @param {Readonly<Record<string, string>>} [labels] */
  const value = (name, labels = {}) =>
    found.get(name)?.find((sample) =>
      Object.entries(labels).every(([label, text]) => sample.labels[label] === text)
    )?.value;
  return {
    at,
    generatedTokens: value("graft_tokens_total", { kind: "generated" }) ?? 0,
    promptTokens: value("graft_tokens_total", { kind: "prompt" }) ?? 0,
    inWork: value("graft_requests_in_work") ?? 0,
    residentBytes: value("process_resident_memory_bytes") ?? 0,
    availableBytes: value("graft_memory_available_bytes"),
    temperatures: (found.get("graft_temperature_celsius") ?? [])
      .map(({ labels, value }) => ({ zone: labels.zone ?? "", celsius: value }))
      .sort((a, b) => b.celsius - a.celsius),
  };
}

/**
 * Puts figures behind earlier ones, as far as those are still of interest.
 *
 * @param {readonly Figures[]} earlier
 * @param {Figures} figures
 * @returns {readonly Figures[]}
 */
export function withFigures(earlier, figures) {
  const last = earlier.at(-1);
  // Counts that have become smaller are those of another process.
  const same = last !== undefined && last.generatedTokens <= figures.generatedTokens &&
    last.promptTokens <= figures.promptTokens;
  const kept = same ? earlier.filter(({ at }) => figures.at - at <= KEPT_MS) : [];
  return [...kept, figures];
}

/**
 * Tokens per second, read and generated, over the 30 seconds before a moment.
 *
 * @param {readonly Figures[]} figures the oldest first
 * @param {number} [index] of the moment; default: the last
 * @returns {number} 0 before there are two figures
 */
export function tokensPerSecond(figures, index = figures.length - 1) {
  const last = figures[index];
  if (last === undefined) return 0;
  const first = figures.find(({ at }) => last.at - at <= RATE_MS) ?? last;
  const seconds = (last.at - first.at) / 1000;
  if (seconds <= 0) return 0;
  return (last.generatedTokens + last.promptTokens - first.generatedTokens - first.promptTokens) /
    seconds;
}
