/** Curves of a training from the events of its job. */

/**
 * @typedef {object} JobEvent
 * @property {string} id
 * @property {number} created_at
 * @property {"info" | "warn" | "error"} level
 * @property {string} message
 * @property {Readonly<Record<string, number>> | null} data
 *
 * @typedef {object} TrainingSeries
 * @property {readonly number[]} steps ascending
 * @property {readonly (number | null)[]} trainLoss one for each step, null where it was not measured
 * @property {readonly (number | null)[]} validLoss
 * @property {readonly (number | null)[]} learningRate
 * @property {readonly (number | null)[]} tokensPerSecond
 */

/**
 * @param {readonly JobEvent[]} events the oldest first: a step that was repeated after a restart counts
 *   as it was the last time
 * @returns {TrainingSeries}
 */
export function trainingSeries(events) {
  /** @type {Map<number, Record<string, number>>} */
  const byStep = new Map();
  for (const { data } of events) {
    if (data === null || typeof data.step !== "number") continue;
    byStep.set(data.step, { ...byStep.get(data.step), ...data });
  }
  const steps = [...byStep.keys()].sort((a, b) => a - b);
  /** @param {string} name */
  const values = (name) => steps.map((step) => byStep.get(step)?.[name] ?? null);
  return {
    steps,
    trainLoss: values("train_loss"),
    validLoss: values("valid_loss"),
    learningRate: values("learning_rate"),
    tokensPerSecond: values("tokens_per_second"),
  };
}

/**
 * The last value that was measured.
 *
 * @param {readonly (number | null)[]} values
 */
export function lastValue(values) {
  return values.findLast((value) => value !== null);
}
