/** `graft fleet rollback`: withdraws the release that boxes use. */
import { EXIT } from "../../errors.ts";
import { FleetDesk } from "../../fleet/operator/fleet_desk.ts";
import { rollBack } from "../../fleet/operator/roll_back.ts";
import { command } from "../command.ts";
import { text } from "../flags.ts";
import { KEY_FLAG, signingKeyOf, STORE_FLAGS, storeOf } from "./fleet_flags.ts";

export default command({
  name: "fleet rollback",
  summary: "Withdraw the release, and send all boxes back to the one before",
  flags: {
    ...KEY_FLAG,
    to: text("Release to go back to, or none for what boxes had before; the one before if absent", {
      placeholder: "NAME",
    }),
    ...STORE_FLAGS,
  },
  examples: [
    {
      command: "graft fleet rollback --key fleet.key --server tls://nats.example.com",
      does: "boxes that are off follow when they are on again",
    },
    { command: "graft fleet rollback --key fleet.key --to none", does: "withdraws every release" },
  ],
  needs: ["net"],
  async run({ flags, terminal }) {
    const { key, keys } = signingKeyOf(flags);
    await using store = await storeOf(flags, "graft fleet rollback");
    const order = await rollBack(new FleetDesk(store, flags.bucket, keys), key, flags.to);
    terminal.print(`Order ${order.sequence}: ${order.why}`);
    return EXIT.ok;
  },
});
