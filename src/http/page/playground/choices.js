/** What a message can be answered by. */

/**
 * A column of the playground.
 *
 * @typedef {object} Choice
 * @property {string} key tells choices apart
 * @property {string} label
 * @property {"base" | "mix" | "adapter" | "model"} kind
 * @property {{ model: string, lora?: readonly { id: number, scale: number }[] }} body what a request
 *   for it has
 */

/**
 * All choices: the base without adapters, the base with the mix that requests for it get, adapters, and
 * other models, such as merged ones.
 *
 * @param {readonly import("../server/server_state.js").Model[]} models
 * @param {readonly import("../server/server_state.js").Adapter[]} adapters
 * @param {import("../server/server_state.js").Props} props
 * @returns {Choice[]}
 */
export function choicesOf(models, adapters, { base_model: base, features }) {
  const isMixed = adapters.some(({ scale }) => scale !== 0);
  return models.flatMap(({ id, parent }) => {
    /** @type {(kind: Choice["kind"], label: string, more?: Partial<Choice["body"]>) => Choice} */
    const choice = (kind, label, more = {}) => ({
      key: `${kind} ${id}`,
      label,
      kind,
      body: { model: id, ...more },
    });
    if (parent !== null) return [choice("adapter", id)];
    if (id !== base) return [choice("model", id)];
    // An empty mix: the base whatever the mix of other requests is.
    const plain = choice("base", id, features.adapters ? { lora: [] } : {});
    return isMixed ? [plain, choice("mix", `${id}, mixed`)] : [plain];
  });
}

/** Most columns that are chosen at the beginning. */
const FIRST = 3;

/**
 * The keys of the choices to show: those that the user chose and that are still there, else the first of
 * each kind.
 *
 * @param {readonly Choice[]} choices
 * @param {readonly string[] | undefined} chosen
 * @returns {readonly string[]}
 */
export function shownKeys(choices, chosen) {
  if (chosen !== undefined) return chosen.filter((key) => choices.some((one) => one.key === key));
  const firsts = choices.filter(({ kind }, i) =>
    choices.findIndex((other) => other.kind === kind) === i
  );
  const others = choices.filter((choice) => !firsts.includes(choice));
  return [...firsts, ...others].slice(0, FIRST).map(({ key }) => key);
}

/** @type {Readonly<Record<Choice["kind"], string>>} */
export const KIND_NAMES = {
  base: "base without adapters",
  mix: "base with the mix",
  adapter: "adapter",
  model: "model",
};
