/** Reads Prometheus' text format. */

/**
 * @typedef {object} Sample
 * @property {Readonly<Record<string, string>>} labels
 * @property {number} value
 */

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;
/** @type {Readonly<Record<string, string>>} */
const ESCAPES = { "\\n": "\n", "\\\\": "\\", '\\"': '"' };

/**
 * The samples of each series, by its name. Lines that are none are passed over.
 *
 * @param {string} text
 * @returns {Map<string, Sample[]>}
 */
export function parseMetrics(text) {
  /** @type {Map<string, Sample[]>} */
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", number] = LINE.exec(line) ?? [];
    if (name === undefined) continue;
    const sample = { labels: parseLabels(labels), value: parseNumber(number) };
    if (Number.isNaN(sample.value)) continue;
    found.set(name, [...(found.get(name) ?? []), sample]);
  }
  return found;
}

/** @param {string} text */
function parseLabels(text) {
  return Object.fromEntries(
    Array.from(text.matchAll(LABEL), ([, name, value]) => [
      name,
      value.replace(/\\./g, (escape) => ESCAPES[escape] ?? escape),
    ]),
  );
}

/** @param {string} text */
function parseNumber(text) {
  if (text === "+Inf") return Infinity;
  return text === "-Inf" ? -Infinity : Number(text);
}
