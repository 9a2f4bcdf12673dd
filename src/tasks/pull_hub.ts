/** Pulls from a hub, or finds what was pulled before if the hub may not be asked. */
import { HubError, ParameterError } from "../errors.ts";
import type { RepositoryFile } from "../hub/api.ts";
import { RepositoryFolder } from "../hub/cache.ts";
import { HubHttp } from "../hub/http.ts";
import { checkOrigin } from "../hub/import_local.ts";
import { checkRevision, type ModelName } from "../hub/names.ts";
import { pull, type Pulled, type PullPlan } from "../hub/pull.ts";
import { DEFAULT_REVISION, findSnapshot } from "../hub/pulled.ts";
import { selectFiles, type Wanted } from "../hub/select.ts";
import { type HubSettings, hubSettings } from "../hub/settings.ts";
import type { PullConfig } from "./pull_config.ts";
import type { Watch } from "./watch.ts";

/** What a pull from a hub reports while it runs. */
export type PullHubEvent =
  /** What is to come, before anything is downloaded. */
  | { readonly kind: "plan"; readonly repository: string; readonly plan: PullPlan }
  /** Bytes of a file that are there. */
  | { readonly kind: "bytes"; readonly file: RepositoryFile; readonly done: number }
  /** A file is there and verified. */
  | { readonly kind: "file"; readonly file: RepositoryFile }
  /** Another process is getting the same file. */
  | { readonly kind: "waiting"; readonly file: RepositoryFile }
  /** A request failed and is repeated; a sentence. */
  | { readonly kind: "retry"; readonly text: string };

/** What was pulled from a hub. */
export type PulledFromHub =
  | (Pulled & {
    readonly from: "hub";
    /** The repository's name, `org/name`. */
    readonly name: string;
    readonly revision: string;
  })
  /** The hub was not asked, since `HF_HUB_OFFLINE` is set: the repository was there before. */
  | {
    readonly from: "cache";
    readonly name: string;
    readonly revision: string;
    readonly commit: string;
    readonly folder: string;
    /** Name of the ONNX model that is chosen from several; absent for an adapter. */
    readonly variant?: string;
  };

/**
 * Gets a repository from a hub.
 *
 * @throws {ParameterError} for a parameter of another source
 * @throws {HubError | AccessError | BadInputError | UsageError} for what the hub answers
 * @throws {StorageError} if it does not fit or cannot be written, naming the path
 */
export async function pullFromHub(
  { repository, ...name }: ModelName,
  config: PullConfig,
  { onEvent = () => {}, signal }: Watch<PullHubEvent>,
): Promise<PulledFromHub> {
  if (config.name !== undefined) {
    throw new ParameterError(
      "name",
      (name) => `${name("name")} is for folders and archives: a hub's model keeps its own`,
    );
  }
  const { localDir, include, exclude } = config;
  const settings = hubSettings();
  const revision = checkRevision(config.revision ?? name.revision ?? DEFAULT_REVISION);
  const wanted = { variant: config.variant ?? name.variant, include, exclude };
  if (settings.offline) return findOffline(repository, revision, wanted, settings, localDir);
  checkOrigin(new RepositoryFolder(settings.cache, repository), "hub");
  const http = new HubHttp({
    ...settings,
    signal,
    onRetry: (text) => onEvent({ kind: "retry", text }),
  });
  const pulled = await pull(http, {
    ...wanted,
    cache: settings.cache,
    repository,
    revision,
    localDir,
    signal,
    onPlan: (plan) => onEvent({ kind: "plan", repository, plan }),
    onBytes: (file, done) => onEvent({ kind: "bytes", file, done }),
    onFile: (file) => onEvent({ kind: "file", file }),
    onWait: (file) => onEvent({ kind: "waiting", file }),
  });
  return { from: "hub", name: repository, revision, ...pulled };
}

/** Finds what is already there, which must do without the network. */
function findOffline(
  repository: string,
  revision: string,
  wanted: Wanted,
  { cache }: HubSettings,
  localDir: string | undefined,
): PulledFromHub {
  const found = localDir === undefined ? findSnapshot(cache, { repository, revision }) : undefined;
  if (found === undefined) {
    throw new HubError(
      `Cannot pull ${repository}: HF_HUB_OFFLINE is set, and it is not in ${cache}; unset it`,
    );
  }
  const { commit, folder, paths } = found;
  const { variant } = selectFiles(paths, wanted, `What was pulled of ${repository}`);
  return { from: "cache", name: repository, revision, commit, folder, variant: variant?.name };
}
