/** `graft fleet advance`: goes on with a release. */
import { FleetDesk } from "../../fleet/operator/fleet_desk.ts";
import { command } from "../command.ts";
import { conductWaves, WAIT_FLAG } from "./conduct_flags.ts";
import { KEY_FLAG, signingKeyOf, STORE_FLAGS, storeOf } from "./fleet_flags.ts";

export default command({
  name: "fleet advance",
  summary: "Go on with a release: open its next waves, or stop it, by what boxes report",
  flags: { ...KEY_FLAG, ...WAIT_FLAG, ...STORE_FLAGS },
  examples: [
    {
      command: "graft fleet advance --key fleet.key --server tls://nats.example.com",
      does: "until the last wave is done",
    },
    {
      command: "graft fleet advance --key fleet.key --no-wait",
      does: "looks once, for a timer",
    },
  ],
  needs: ["net"],
  async run({ flags, terminal }) {
    const { key, keys } = signingKeyOf(flags);
    await using store = await storeOf(flags, "graft fleet advance");
    const desk = new FleetDesk(store, flags.bucket, keys);
    return await conductWaves(desk, key, flags.wait, terminal);
  },
});
