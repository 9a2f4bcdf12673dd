/** Changes of adapters, each told when it is done. */
import { postJson } from "../shared/api.js";
import { say, sayProblem } from "../shared/status.js";
import { refresh, server } from "../server/server_state.js";

/**
 * @param {string} done what is said then
 * @param {string} path
 * @param {unknown} body
 * @returns {Promise<boolean>} whether it was done
 */
async function change(done, path, body) {
  try {
    await postJson(path, body);
    await refresh();
    say(done);
    return true;
  } catch (error) {
    await refresh();
    sayProblem(error);
    return false;
  }
}

/** @typedef {import("../server/server_state.js").Adapter} Adapter */

/**
 * Loads a folder under a name.
 *
 * @param {string} name
 * @param {string} folder
 * @param {Adapter | undefined} replaced what the name stands for now
 * @param {string} [way] how it answers: `auto`, `bound` or `merged`
 */
export const load = (name, folder, replaced, way) =>
  change(
    replaced === undefined ? `${name} is loaded` : `${name} is replaced`,
    "v1/load_lora_adapter",
    {
      lora_name: name,
      lora_path: folder,
      load_inplace: replaced !== undefined,
      expected_generation: replaced?.adapter_generation ?? 0,
      way,
    },
  );

/** @param {Adapter} adapter */
export const rollBack = ({ name, adapter_generation }) =>
  change(`${name} is rolled back`, "v1/rollback_lora_adapter", {
    lora_name: name,
    expected_generation: adapter_generation,
  });

/** @param {Adapter} adapter */
export const unload = ({ name, adapter_generation }) =>
  change(`${name} is unloaded`, "v1/unload_lora_adapter", {
    lora_name: name,
    expected_generation: adapter_generation,
  });

/** Settles when the changes of the mix so far are done. */
let mixed = Promise.resolve(true);

/**
 * Changes the mix once earlier changes of it are done and shown: each states the shares of all adapters.
 *
 * @param {() => readonly { id: number, scale: number }[]} scales
 */
function mix(scales) {
  mixed = mixed.then(() => {
    const shares = scales();
    const isMixed = shares.some(({ scale }) => scale !== 0);
    return change(isMixed ? "The mix is set" : "The mix is cleared", "lora-adapters", shares);
  });
  return mixed;
}

/**
 * Changes the share of one adapter.
 *
 * @param {number} id
 * @param {number} scale
 */
export const mixIn = (id, scale) =>
  mix(() =>
    server.get().adapters.filter(({ mixable }) => mixable)
      .map((adapter) => ({ id: adapter.id, scale: adapter.id === id ? scale : adapter.scale }))
  );

export const clearMix = () => mix(() => []);
