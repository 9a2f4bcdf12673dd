/** Opens a fleet's store by the address of `--server`. */
import { fromFileUrl } from "@std/path";
import { ParameterError } from "../../errors.ts";
import { FolderStore } from "./folder_store.ts";
import type { NatsSettings } from "./nats_connect.ts";
import { type BucketSettings, NatsStore } from "./nats_store.ts";
import type { FleetStore } from "./store.ts";

/**
 * Opens the store of a fleet.
 *
 * @throws {ParameterError} for an address that is none
 * @throws {ServerError} if it does not answer
 */
export function openStore(settings: NatsSettings, buckets: BucketSettings): Promise<FleetStore> {
  if (!settings.server.startsWith("file:")) return NatsStore.open(settings, buckets);
  try {
    return Promise.resolve(new FolderStore(fromFileUrl(settings.server)));
  } catch (cause) {
    throw new ParameterError(
      "server",
      (name) =>
        `${
          name("server")
        } must name a folder as file:///FOLDER: current value is "${settings.server}"`,
      { cause },
    );
  }
}
