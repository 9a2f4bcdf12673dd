/** An operator's part of a fleet in tests: a trained adapter, keys, and the verbs. */
import { join } from "@std/path";
import { fineTune } from "../../src/finetune/mod.ts";
import type { NatsSettings } from "../../src/fleet/store/nats_connect.ts";
import { openStore } from "../../src/fleet/store/open_store.ts";
import { graft } from "./graft.ts";
import { tinyTraining } from "./training_runs.ts";

export interface Operator {
  /** Folder of an adapter that has learned the rows beside it. */
  readonly adapter: string;
  /** Folder of its rows. */
  readonly data: string;
  readonly privateKey: string;
  readonly publicKey: string;
}

/** Trains a tiny adapter and makes keys, in a folder. */
export async function operatorIn(folder: string): Promise<Operator> {
  const data = join(folder, "training");
  Deno.mkdirSync(data);
  await fineTune(tinyTraining(data, 6, { iters: 30, learningRate: 0.01 }));
  await graft("fleet", "keygen", "--save-path", join(folder, "fleet"));
  const [privateKey, publicKey] = ["key", "pub"].map((ending) => join(folder, `fleet.${ending}`));
  return { adapter: join(data, "adapter"), data, privateKey, publicKey };
}

/** Opens the store of the fleet `graft`. */
export function fleetStore(server: string, access: Partial<NatsSettings> = {}) {
  const settings = { server, name: "test", timeoutMs: 5000, patient: false, ...access };
  return openStore(settings, { bucket: "graft", replicas: 1 });
}
