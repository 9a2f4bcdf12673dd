/** Figures in words. */

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/**
 * @param {number | undefined} bytes
 * @returns {string} as `312 MB`
 */
export function formatBytes(bytes) {
  if (bytes === undefined || !Number.isFinite(bytes)) return "unknown";
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** unit;
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/**
 * @param {number | null | undefined} value
 * @param {number} [digits] behind the point
 */
export function formatNumber(value, digits = 1) {
  return value === null || value === undefined || !Number.isFinite(value)
    ? "none"
    : value.toFixed(digits);
}

/**
 * A small number, such as a learning rate.
 *
 * @param {number | null | undefined} value
 */
export function formatSmall(value) {
  if (value === null || value === undefined) return "none";
  return value === 0 || Math.abs(value) >= 0.01
    ? `${+value.toPrecision(3)}`
    : value.toExponential(2);
}

/** @param {number | null | undefined} seconds since 1970 */
export function formatTime(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return new Date(seconds * 1000).toLocaleString("en-GB", {
    dateStyle: "medium",
    timeStyle: "short",
  });
}
