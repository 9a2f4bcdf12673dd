/** `graft fleet status`: what a fleet was given, and what its boxes report. */
import { EXIT } from "../../errors.ts";
import { FleetDesk } from "../../fleet/operator/fleet_desk.ts";
import { statusOf } from "../../fleet/operator/status.ts";
import { statusPage } from "../../fleet/operator/status_page.ts";
import type { BoxReport } from "../../fleet/release/report.ts";
import { replaceFile } from "../../system/durable_files.ts";
import { command } from "../command.ts";
import { boolean, text } from "../flags.ts";
import { printTable } from "../terminal/table.ts";
import { PUBLIC_KEY_FLAG, STORE_FLAGS, storeOf, trustedKeysOf } from "./fleet_flags.ts";
import { formatChange, formatCount, formatWavePlace } from "./wave_text.ts";

export default command({
  name: "fleet status",
  summary: "Show the release, its wave, and what each box uses and measured",
  flags: {
    ...PUBLIC_KEY_FLAG,
    json: boolean("Print JSON", { default: false }),
    page: text("Also write the table as a page, one HTML file without anything beside it", {
      placeholder: "FILE",
    }),
    ...STORE_FLAGS,
  },
  examples: [
    {
      command: "graft fleet status --public-key fleet.pub --server tls://nats.example.com",
      does: "a line for each box",
    },
    {
      command: "graft fleet status --public-key fleet.pub --page fleet.html",
      does: "the same to look at in a browser",
    },
  ],
  needs: ["net"],
  async run({ flags, terminal }) {
    await using store = await storeOf(flags, "graft fleet status");
    const desk = new FleetDesk(store, flags.bucket, trustedKeysOf(flags));
    const status = statusOf(await desk.newest(), await desk.reports());
    if (flags.page !== undefined) {
      replaceFile(flags.page, new TextEncoder().encode(statusPage(status, flags.bucket)));
    }
    if (flags.json) {
      terminal.print(JSON.stringify(status));
      return EXIT.ok;
    }
    const { order, wave, boxes } = status;
    terminal.print(`release   ${order.target?.name ?? "none"}`);
    terminal.print(`order     ${order.sequence} of ${order.issuedAt.slice(0, 19)}Z: ${order.why}`);
    if (order.target !== null) {
      terminal.print(
        `wave      ${formatWavePlace(order).replace("wave ", "")}: ${formatCount(wave)}`,
      );
    }
    printTable<BoxReport>(boxes, [
      { heading: "box", cell: ({ box }) => box },
      { heading: "in use", cell: ({ inUse }) => inUse },
      { heading: "state", cell: ({ state }) => state },
      { heading: "loss", cell: ({ loss }) => loss },
      { heading: "before", cell: ({ lossInUse }) => lossInUse },
      { heading: "change", cell: changeOf },
      { heading: "kept", cell: ({ gainKept }) => gainKept && `${(100 * gainKept).toFixed(1)}%` },
      { heading: "reported", cell: ({ at }) => `${at.slice(0, 19)}Z` },
      { heading: "", cell: ({ why }) => why ?? "" },
    ], terminal);
    return EXIT.ok;
  },
});

function changeOf({ loss, lossInUse }: BoxReport): string | undefined {
  return loss === undefined || lossInUse === undefined || !(lossInUse > 0)
    ? undefined
    : formatChange((loss - lossInUse) / lossInUse);
}
