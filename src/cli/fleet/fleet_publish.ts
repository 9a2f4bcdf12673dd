/** `graft fleet publish`: gives a release to a fleet, wave by wave. */
import { basename, join } from "@std/path";
import { parseDuration } from "../../config/duration.ts";
import { UsageError } from "../../errors.ts";
import { FleetDesk } from "../../fleet/operator/fleet_desk.ts";
import { publish } from "../../fleet/operator/publish.ts";
import { findSource, rowsSource } from "../../fleet/operator/release_files.ts";
import { parseWaves } from "../../fleet/release/waves.ts";
import { exists } from "../../system/durable_files.ts";
import { command } from "../command.ts";
import { boolean, list, number, text } from "../flags.ts";
import { STATE_FLAG, stateFolder } from "../service/service_flags.ts";
import { conductWaves, WAIT_FLAG } from "./conduct_flags.ts";
import { KEY_FLAG, REPLICAS_FLAG, signingKeyOf, STORE_FLAGS, storeOf } from "./fleet_flags.ts";

const WAVES = "Waves";

export default command({
  name: "fleet publish",
  summary: "Publish an adapter or a merged model, and open one wave after the other",
  operands: "MODEL --key FILE",
  maxOperands: 1,
  flags: {
    ...KEY_FLAG,
    name: text("Name of the release; that of the model if absent", { placeholder: "NAME" }),
    data: text("Rows on which boxes without data of their own measure: a folder or a file", {
      placeholder: "PATH",
    }),
    merged: boolean("Publish the merged model of the service's model MODEL, not its adapter", {
      default: false,
    }),
    ...STATE_FLAG,
    waves: list("Per cent of the boxes in each wave, or numbers of boxes as 2boxes", {
      default: ["1", "10", "100"],
      placeholder: "WAVES",
      group: WAVES,
    }),
    minReported: number("Share of a wave's boxes that must have decided before the next one", {
      default: 0.9,
      min: 0,
      max: 1,
      group: WAVES,
    }),
    maxRejected: number("Share of a wave's boxes that may reject or fail; more stop the release", {
      default: 0.1,
      min: 0,
      max: 1,
      group: WAVES,
    }),
    soak: text("How long a wave lasts at least, such as 1h", {
      placeholder: "DURATION",
      group: WAVES,
    }),
    wait: { ...WAIT_FLAG.wait, group: WAVES },
    ...STORE_FLAGS,
    ...REPLICAS_FLAG,
  },
  examples: [
    {
      command: "graft fleet publish 0007 --key fleet.key --server tls://nats.example.com",
      does: "the adapter of this service's model 0007 to 1%, 10%, then all boxes",
    },
    {
      command:
        "graft fleet publish ./adapters --name mill-3 --key fleet.key --waves 2boxes,25,100 --soak 1h",
      does: "two boxes first, and each wave for an hour at least",
    },
    {
      command: "graft fleet publish ./adapters --key fleet.key --server file:///media/stick",
      does: "writes a folder that boxes without a network can follow",
    },
  ],
  needs: ["net"],
  async run({ flags, operands, terminal }) {
    const [model] = operands;
    if (model === undefined) {
      throw new UsageError(
        "graft fleet publish needs a model: a number, or an adapter's or a merged model's folder",
      );
    }
    const { key, keys } = signingKeyOf(flags);
    const waves = parseWaves(flags.waves);
    const path = pathOf(model, flags.merged, stateFolder(flags));
    const { kind, files } = findSource(path);
    const rows = flags.data === undefined ? [] : rowsSource(flags.data);
    const { minReported, maxRejected } = flags;
    const soakSeconds = flags.soak === undefined ? 0 : Math.ceil(parseDuration(flags.soak, "soak"));
    const request = {
      name: flags.name ?? basename(model),
      source: { kind, files: [...files, ...rows] },
      waves,
      policy: { minReported, maxRejected, soakSeconds },
    };
    await using store = await storeOf(flags, "graft fleet publish", false, flags.replicas);
    const desk = new FleetDesk(store, flags.bucket, keys);
    const order = await publish(desk, key, request, (done, total) => {
      if (terminal.interactive) terminal.status(`Piece ${done} of ${total}`);
    });
    terminal.print(`Order ${order.sequence}: ${order.why}, to ${store.address}`);
    return await conductWaves(desk, key, flags.wait, terminal);
  },
});

/** A number is a model of the service's folder, unless there is a folder of that name here. */
function pathOf(model: string, merged: boolean, state: string): string {
  if (!/^\d+$/.test(model) || exists(model)) return model;
  const folder = join(state, "models", model.padStart(4, "0"));
  if (!exists(folder)) {
    throw new UsageError(`There is no model ${model} in ${state}: graft service status lists them`);
  }
  return join(folder, merged ? "model" : "adapter");
}
