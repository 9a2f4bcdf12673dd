/** Pulls models and adapters from a hub, or from a folder or an archive on this machine. */
import { wholeConfig } from "../config/given.ts";
import { UsageError } from "../errors.ts";
import { parseModelName } from "../hub/names.ts";
import { exists } from "../system/durable_files.ts";
import { PULL_PARAMETERS, type PullConfig, type PullInput } from "./pull_config.ts";
import { type PulledFromHub, pullFromHub, type PullHubEvent } from "./pull_hub.ts";
import { type PulledLocally, pullLocal } from "./pull_local.ts";
import type { Watch } from "./watch.ts";

/** What was pulled, by its source. */
export type PullResult = PulledFromHub | PulledLocally;

/**
 * Gets a model or an adapter under a name that every function that opens models accepts. Nothing appears
 * before all of it is there and verified; the next call continues from what a failure or the signal leaves.
 *
 * `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE` work as in huggingface_hub.
 *
 * @throws {UsageError} for a name that is invalid or taken, or a parameter of another source
 * @throws {BadInputError} for a source that holds neither a model nor an adapter, or is not what it should be
 * @throws {HubError | AccessError} if the hub answers with an error
 * @throws {StorageError} if it does not fit or cannot be written, naming the path
 * @throws the signal's reason
 *
 * @example
 * ```ts
 * import { pull } from "./pull.ts";
 *
 * // From a hub it would be `{ source: "onnx-community/SmolLM2-135M-Instruct-ONNX", variant: "q4" }`.
 * const pulled = await pull({ source: "models/all-minilm-l6-v2-int8", name: "encoder" });
 * if (pulled.from === "here") console.log(pulled.folder, pulled.sizeBytes);
 * ```
 */
export async function pull(
  input: PullInput,
  watch: Watch<PullHubEvent> = {},
): Promise<PullResult> {
  const config = wholeConfig<PullConfig>(PULL_PARAMETERS, input);
  const { source } = config;
  if (exists(source) || /^[./~]|\.(tar|tgz|tar\.gz)$/.test(source)) {
    return await pullLocal(config, watch.signal);
  }
  const name = parseModelName(source);
  if (name === undefined) {
    throw new UsageError(
      `"${source}" is no name of a model (org/name), and there is no such folder or file`,
    );
  }
  return await pullFromHub(name, config, watch);
}
