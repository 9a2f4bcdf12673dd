/** Changes of adapters, each told when it is done. */
import { postJson } from "../shared/api.js";
import { say, sayProblem } from "../shared/status.js";
import { refresh } from "../server/server_state.js";

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

/** @param {readonly { id: number, scale: number }[]} scales */
export const mix = (scales) =>
  change(
    scales.some(({ scale }) => scale !== 0) ? "The mix is set" : "The mix is cleared",
    "lora-adapters",
    scales,
  );
